import pytest
from hypothesis import given
from hypothesis import strategies as st

from system.foundation.batch_cut import cut_batch
from system.foundation.batch_cut import world_sizes
from system.foundation.errors import ClusterError


@pytest.mark.parametrize(
    ("batch", "workers", "most", "expected"),
    [
        (48, 1, None, (48, 1)),
        (48, 2, 4, (4, 6)),
        (48, 3, 4, (4, 4)),
        (48, 16, 4, (3, 1)),
        (48, 48, 4, (1, 1)),
        # A pass may have fewer images than it could: all passes have the same number.
        (48, 2, 5, (4, 6)),
        (48, 4, 5, (4, 3)),
        (14, 2, 5, (1, 7)),
        (256, 16, 16, (16, 1)),
        (256, 8, 16, (16, 2)),
    ],
)
def test_as_few_passes_as_there_can_be(batch, workers, most, expected) -> None:
    assert cut_batch(batch, workers, most) == expected


def test_what_does_not_divide_is_refused_with_what_does() -> None:
    with pytest.raises(ClusterError, match=r"workers 5; it divides by 1, 2, 3, 4, 6, 12"):
        cut_batch(12, 5)


def test_sizes_lie_within_their_bounds() -> None:
    assert world_sizes(48, 2, 8) == [2, 3, 4, 6, 8]
    assert world_sizes(48, 5, 5) == []


@given(st.integers(1, 64), st.integers(1, 12), st.integers(1, 12))
def test_every_cut_is_of_the_whole_batch(share, workers, most) -> None:
    micro_batch, passes = cut_batch(share * workers, workers, most)
    assert micro_batch * passes == share
    assert micro_batch <= most
