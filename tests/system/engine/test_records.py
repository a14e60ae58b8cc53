from dataclasses import dataclass

import torch
from torch import Tensor

from system.engine.records import tensors_in
from system.engine.records import with_tensors


@dataclass(frozen=True, slots=True)
class Inner:
    one: Tensor
    name: str


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    pair: tuple[Tensor, int]
    several: list[Tensor]
    named: dict[str, Tensor]


def test_nested_records_come_apart_and_together_again() -> None:
    tensors = [torch.tensor(float(n)) for n in range(4)]
    record = Outer(Inner(tensors[0], "a"), (tensors[1], 7), [tensors[2]], {"x": tensors[3]})
    assert [float(t) for t in tensors_in(record)] == [0, 1, 2, 3]
    made = with_tensors(record, iter([t + 10 for t in tensors]))
    assert made == Outer(
        Inner(torch.tensor(10.0), "a"),
        (torch.tensor(11.0), 7),
        [torch.tensor(12.0)],
        {"x": torch.tensor(13.0)},
    )


def test_a_tensor_alone() -> None:
    one = torch.ones(2)
    assert tensors_in(one) == (one,)
    assert with_tensors(one, iter([one])) is one
