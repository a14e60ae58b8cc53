import pytest
import torch
from torch import nn

from system.foundation.world import World
from system.train.guards.gradients import GradientTaps
from tests.system.train.trials import run_loop


def test_a_part_that_nothing_reaches_has_zero_and_a_frozen_one_is_not_listened_at() -> None:
    parts = {name: nn.Linear(3, 3) for name in ("encoder", "decoder", "flow")}
    parts["flow"].requires_grad_(False)
    taps = GradientTaps(parts)
    given = torch.ones(2, 3)
    parts["encoder"](given).sum().backward()
    parts["flow"](given)
    taken = taps.take()
    assert taken.keys() == {"train/encoder_gradient", "train/decoder_gradient"}
    weight = parts["encoder"].weight
    assert taken["train/encoder_gradient"] == pytest.approx(weight.grad.norm().item())
    assert taken["train/decoder_gradient"] == 0
    assert taps.take()["train/encoder_gradient"] == 0


STAGES = [
    (2, "bf16"),
    pytest.param(0, "fp32", marks=pytest.mark.slow),
    pytest.param(3, "fp32", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("stage", "precision"), STAGES)
def test_every_part_of_a_run_is_reached_under_every_stage(recipe, stage, precision) -> None:
    run = {"name": "tiny", "total_images": 24, "global_batch": 8, "report_every_images": 24}
    made = recipe(run=run, engine={"zero_stage": stage, "precision": precision})
    _, collector = run_loop(World(), made)
    values = collector.values[24]
    assert all(values[f"train/{part}_gradient"] > 0 for part in ("encoder", "decoder", "flow"))
