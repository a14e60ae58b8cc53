import torch

from system.interop.differences import differences
from system.interop.differences import listed

EXPECTED = {"a": torch.Size([2, 3]), "b": torch.Size([])}


def test_nothing_is_said_where_names_and_shapes_agree() -> None:
    assert differences(EXPECTED, {"b": torch.zeros(()), "a": torch.zeros(2, 3)}) == []


def test_every_difference_is_said() -> None:
    found = {"a": torch.zeros(3, 2), "c": torch.zeros(4), "d": {"a": 1}}
    assert differences(EXPECTED, found) == [
        "missing: b a scalar",
        "misshapen: a is 3x2, expected 2x3",
        "unknown: c 4",
        "no tensor: d is dict",
    ]


def test_integers_are_no_weights() -> None:
    found = {"a": torch.zeros(2, 3, dtype=torch.int64), "b": torch.zeros(())}
    (line,) = differences(EXPECTED, found)
    assert line == "no floating-point numbers: a is torch.int64"


def test_problems_are_listed_below_one_another() -> None:
    assert listed(["one", "two"]) == "\n  one\n  two"
