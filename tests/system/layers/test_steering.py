import torch

from system.layers.steering import Steering


def test_rows_are_those_of_whatever_part_there_is() -> None:
    assert Steering().rows is None
    assert Steering(bias=torch.zeros(3, 2)).rows == 3
    assert Steering(sharpness=torch.ones(5)).rows == 5


def test_two_batches_side_by_side() -> None:
    one, other = (Steering(norm=torch.full((2, 3), value)) for value in (1.0, 2.0))
    both = one.beside(other)
    assert both.rows == 4
    assert torch.equal(both.norm, torch.cat([one.norm, other.norm]))
    assert both.prefix is None
