"""Positions of the stream that are passed over: known to do harm, and so left out by name.

A position keeps its place in the order, so whatever comes after it stays where it was. Global
batches are left out whole: a batch that holds one such position is not trained on.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Spans of positions, each from its first to before its last."""

    spans: tuple[tuple[int, int], ...] = ()

    def touches(self, start: int, stop: int) -> bool:
        """Whether one of the positions start … stop-1 is left out."""
        return any(first < stop and start < last for first, last in self.spans)


NOTHING = Exclusion()
