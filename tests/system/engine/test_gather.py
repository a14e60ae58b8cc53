import pytest
import torch
from torch import Tensor
from torch import nn

from system.engine.deepspeed_engine import Engine
from system.foundation.world import World
from tests.system.engine.matrix import settings


class Part(nn.Module):
    """A module with a weight that its pass leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(2, 2)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, given: Tensor) -> Tensor:
        return self.used(given)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_weight_that_no_loss_reaches_is_gathered_unmoved(stage: int) -> None:
    torch.manual_seed(0)
    engine = Engine(Part(), settings(stage, "fp32"), world=World(), micro_batch=1, accumulation=1)
    engine.backward(engine.forward(torch.ones(1, 2)).square().mean())
    engine.step(1e-2, [0.5])
    averages, weights = engine.averaged(), engine.weights()
    assert list(averages) == ["unused", "used.weight", "used.bias"]
    assert averages["unused"].tolist() == weights["unused"].tolist() == [1, 1, 1]
    assert not torch.equal(averages["used.weight"], weights["used.weight"])
    engine.close()


def test_what_was_gathered_does_not_move_with_the_next_step() -> None:
    torch.manual_seed(0)
    engine = Engine(Part(), settings(0, "fp32"), world=World(), micro_batch=1, accumulation=1)
    gathered = engine.weights()
    before = gathered["used.weight"].clone()
    engine.backward(engine.forward(torch.ones(1, 2)).square().mean())
    engine.step(1e-2, [0.5])
    assert torch.equal(gathered["used.weight"], before)
    engine.close()
