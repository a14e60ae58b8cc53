import pytest
import torch

from system.foundation.errors import CheckpointError
from system.interop.layout import Layout
from system.interop.layout import Moved
from system.interop.layout import Reorder
from system.interop.layout import causal_mask
from system.interop.layout import layer_norm
from system.interop.layout import linear
from system.interop.layout import ones
from system.interop.layout import refuse
from system.interop.layout import refuse_export
from system.interop.layout import to_ours
from system.interop.layout import to_theirs
from system.interop.layout import zeros

ORDER = torch.tensor([2, 0, 1])
LAYOUT: Layout = [
    *linear("map", "ours.map", (3, 2), rows=Reorder(ORDER, torch.tensor([1.0, -1.0, 1.0]))),
    *linear("in", "ours.in", (2, 3), columns=Reorder(ORDER, axis=1)),
    *layer_norm("norm", "ours.norm", 4),
    Moved("start", "ours.start", (1, 1, 3), (3,), Reorder(ORDER)),
    ones("var", (2, 2)),
    zeros("freqs", (1, 2)),
    causal_mask("mask", 3),
]


def state(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    learned = {
        entry.name: torch.randn(entry.shape, generator=generator).to(dtype)
        for entry in LAYOUT
        if isinstance(entry, Moved)
    }
    fixed = {entry.name: entry.value() for entry in LAYOUT if not isinstance(entry, Moved)}
    return learned | fixed


def read(tensors: dict[str, torch.Tensor], found: list[str] | None = None):
    return to_ours(LAYOUT, tensors, lambda name: None, kind="peer", found=found or [])


def test_rows_columns_and_signs_go_where_they_belong() -> None:
    theirs = state()
    ours = read(theirs)
    assert torch.equal(ours["ours.map.weight"][0], theirs["map.weight"][2])
    assert torch.equal(ours["ours.map.weight"][1], -theirs["map.weight"][0])
    assert torch.equal(ours["ours.map.bias"][1], -theirs["map.bias"][0])
    assert torch.equal(ours["ours.in.weight"][:, 0], theirs["in.weight"][:, 2])
    assert torch.equal(ours["ours.in.bias"], theirs["in.bias"])
    assert torch.equal(ours["ours.start"], theirs["start"].flatten()[ORDER])
    assert ours.keys().isdisjoint({"var", "freqs", "mask"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_round_trips_keep_every_bit(dtype: torch.dtype) -> None:
    theirs = state(dtype)
    back = to_theirs(LAYOUT, read(theirs))
    assert back.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(back[name], value), name
        assert back[name].dtype == value.dtype


def test_columns_may_be_negated_too() -> None:
    sign = torch.tensor([1.0, -1.0, -1.0])
    value = torch.arange(6.0).reshape(2, 3)
    both = Reorder(ORDER, sign, axis=1)
    assert torch.equal(both.ours(value), value[:, ORDER] * sign)
    assert torch.equal(both.theirs(both.ours(value)), value)


def test_what_is_written_is_a_copy() -> None:
    theirs = state()
    ours = read(theirs)
    ours["ours.norm.weight"].zero_()
    assert theirs["norm.weight"].any()


def test_all_problems_come_in_one_message() -> None:
    broken = state() | {"other": torch.zeros(2), "var": torch.zeros(2, 2)}
    del broken["norm.bias"]
    broken["in.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as caught:
        to_ours(
            LAYOUT,
            broken | {"strange": torch.zeros(1)},
            lambda name: "a form of its own" if name == "strange" else None,
            kind="peer",
            found=["found before"],
        )
    assert str(caught.value).splitlines() == [
        "these are not weights of peer that can be read: 6 problems",
        "  found before",
        "  strange: a form of its own",
        "  missing: norm.bias 4",
        "  misshapen: in.weight is 3, expected 2x3",
        "  unknown: other 2",
        "  changed: var holds other numbers, expected all ones",
    ]


def test_what_is_not_finite_or_no_tensor_is_named() -> None:
    broken: dict[str, object] = {**state(), "var": 3}
    broken["in.weight"] = torch.full((2, 3), torch.nan)
    with pytest.raises(CheckpointError) as caught:
        to_ours(LAYOUT, broken, lambda _: None, kind="peer", found=[])
    assert str(caught.value).splitlines()[1:] == [
        "  no tensor: var is int",
        "  not finite: in.weight holds numbers that are none",
    ]


def test_no_problem_is_no_error() -> None:
    refuse([], "peer")
    refuse_export([], "peer")
    with pytest.raises(CheckpointError, match="cannot be written for peer: one problem\n  this"):
        refuse_export(["this"], "peer")
