"""Where ZeRO keeps which numbers of which weight, for any number of workers.

The optimiser has its weights in groups. Every worker holds one flat tensor for each group, and more
of the same layout for moments and averages. In stages 1 and 2 the weights of a group lie end to end
and the whole is cut into pieces of one length; in stage 3 each weight is cut into pieces of one
length, and a worker's pieces lie end to end. Whatever is short of a piece's length is padding.

    aaaaa and bbb on two workers      stages 1 and 2: aaaa abbb      stage 3: aaabb aa.b.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers of a weight that lie side by side in one worker's flat tensor."""

    name: str
    start: int  # the first of them, among those of the flattened weight
    stop: int
    place: int  # of the first of them, in the flat tensor


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker among those that hold a state together, in one of ZeRO's stages 1 to 3."""

    stage: int
    rank: int
    workers: int

    def spans(self, counts: Mapping[str, int], length: int) -> list[Span]:
        """What the worker holds of a group, in a flat tensor of `length` numbers.

        `counts` says how many numbers each weight has, in the group's order.
        """
        return self._each_cut(counts) if self.stage == 3 else self._end_to_end(counts, length)

    def piece(self, count: int) -> int:
        """The length of a piece of one weight of `count` numbers in stage 3, padding included."""
        return math.ceil(count / self.workers)

    def _end_to_end(self, counts: Mapping[str, int], length: int) -> list[Span]:
        spans, begin = [], -self.rank * length  # of the weight, seen from the worker's piece
        for name, count in counts.items():
            start, stop = max(0, -begin), min(count, length - begin)
            if start < stop:
                spans.append(Span(name, start, stop, begin + start))
            begin += count
        return spans

    def _each_cut(self, counts: Mapping[str, int]) -> list[Span]:
        spans, place = [], 0
        for name, count in counts.items():
            length = self.piece(count)
            start, stop = self.rank * length, min(count, (self.rank + 1) * length)
            if start < stop:
                spans.append(Span(name, start, stop, place))
            place += length
        return spans


class Pieces:
    """The numbers of weights, in flat tensors of several workers."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[Span, Tensor]]] = defaultdict(list)

    def add(self, spans: Sequence[Span], flat: Tensor) -> None:
        """Numbers that lie in `flat`, which is neither copied nor read."""
        for span in spans:
            self._found[span.name].append((span, flat))

    def cut(self, spans: Sequence[Span], length: int) -> Tensor:
        """A flat tensor of `length` numbers with those of `spans` in their places; else zeros.

        Raises ValueError where some of them are in no piece.
        """
        made = torch.zeros(length)
        for span in spans:
            missing = span.stop - span.start
            for piece, flat in self._found[span.name]:
                start, stop = max(span.start, piece.start), min(span.stop, piece.stop)
                if start < stop:
                    source = flat[piece.place + start - piece.start :][: stop - start]
                    made[span.place + start - span.start :][: stop - start] = source
                    missing -= stop - start
            if missing:
                raise ValueError(f"{missing} numbers of {span.name} are in no worker's share")
        return made
