"""The fixed size in which networks are shown images: bits depend on an image's number alone.

The rounding of a matrix product may change with the number of its rows. So every pass over a
network has the same size and begins at a multiple of it: image i always has the same place in a
pass of the same shape, whatever batch, worker or interruption it was computed under. A pass that
would end early is filled up, and what was made of the filling is dropped.
"""

from collections.abc import Iterator

PASS = 64
VERSION = 1  # of how passes are made; a change of any bit they give is another version


def passes(index: range) -> Iterator[tuple[range, slice]]:
    """The passes that hold these consecutive numbers, and the part of each that is asked for."""
    assert index.step == 1, f"numbers of images are consecutive, found {index}"
    for start in range(index.start - index.start % PASS, index.stop, PASS):
        asked = slice(max(index.start - start, 0), min(index.stop - start, PASS))
        yield range(start, start + PASS), asked
