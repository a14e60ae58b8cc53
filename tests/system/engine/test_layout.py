import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from system.engine.layout import Holder
from system.engine.layout import Pieces
from system.engine.layout import Span

COUNTS = {"a": 5, "b": 3}


@pytest.mark.parametrize(
    ("stage", "rank", "length", "expected"),
    [
        (2, 0, 4, [Span("a", 0, 4, 0)]),
        (2, 1, 4, [Span("a", 4, 5, 0), Span("b", 0, 3, 1)]),
        (2, 2, 4, []),
        (2, 0, 10, [Span("a", 0, 5, 0), Span("b", 0, 3, 5)]),
        (3, 0, 5, [Span("a", 0, 3, 0), Span("b", 0, 2, 3)]),
        (3, 1, 5, [Span("a", 3, 5, 0), Span("b", 2, 3, 3)]),
    ],
)
def test_where_numbers_lie_on_two_workers(stage, rank, length, expected) -> None:
    assert Holder(stage, rank, 2).spans(COUNTS, length) == expected


def test_a_worker_may_hold_nothing_of_a_small_weight() -> None:
    assert Holder(3, 3, 4).spans({"a": 6, "b": 8}, 4) == [Span("b", 6, 8, 2)]


def flat(stage: int, weights: dict[str, Tensor], workers: int) -> list[Tensor]:
    """The slow and obvious form: what each worker holds of a group."""
    if stage == 3:
        parts = [
            torch.cat([w, torch.zeros(-len(w) % workers)]).chunk(workers) for w in weights.values()
        ]
        return [torch.cat(own) for own in zip(*parts, strict=True)]
    whole = torch.cat([*weights.values()])
    aligned = 2 * workers * math.ceil(len(whole) / (2 * workers))
    return list(torch.cat([whole, torch.zeros(aligned - len(whole))]).chunk(workers))


@given(
    st.sampled_from([1, 2, 3]),
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_cut_anew_is_cut_at_once(stage, sizes, before, now) -> None:
    numbers = torch.arange(1.0, 1 + sum(sizes)).split(sizes)
    weights = {f"weight {place}": one for place, one in enumerate(numbers)}
    counts = {name: len(weight) for name, weight in weights.items()}
    pieces = Pieces()
    for rank, held in enumerate(flat(stage, weights, before)):
        pieces.add(Holder(stage, rank, before).spans(counts, len(held)), held)
    for rank, expected in enumerate(flat(stage, weights, now)):
        spans = Holder(stage, rank, now).spans(counts, len(expected))
        assert torch.equal(pieces.cut(spans, len(expected)), expected)


def test_numbers_that_nobody_holds_are_missed() -> None:
    pieces = Pieces()
    pieces.add([Span("a", 0, 3, 0)], torch.ones(3))
    with pytest.raises(ValueError, match="2 numbers of a are in no worker's share"):
        pieces.cut([Span("a", 1, 5, 0)], 4)
