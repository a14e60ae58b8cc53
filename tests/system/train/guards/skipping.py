"""What two workers write down of updates whose values are not finite on one of them."""

import time
from pathlib import Path

import torch
from torch import Tensor

from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.train.state import TrainState
from tests.system.train.guards.poison import poisoned
from tests.system.train.trials import Ended
from tests.system.train.trials import run_loop
from tests.system.train.trials import tiny

POISONED = 13  # in the second update, in the first pass of the second worker
SLOW_S = 0.2


def skipping(shards: str, root: Path, precision: str, name: str) -> Recipe:
    """Two workers, two passes an update."""
    return tiny(
        shards,
        root,
        run={"name": name, "total_images": 24, "report_every_images": 24},
        cluster={"device": "cpu", "workers": 2, "micro_batch": 2},
        engine={"precision": precision, "zero_stage": 2},
    )


def run_skipping(world: World, shards: str, root: Path) -> list[Ended]:
    """A sample that is no number in either precision; then a gradient that is none."""
    poison = poisoned([POISONED], lambda image: image * torch.nan)
    return [
        run_loop(world, skipping(shards, root, "fp32", "fp32"), prepare=poison)[0],
        run_loop(world, skipping(shards, root, "bf16", "bf16"), prepare=poison)[0],
        run_loop(world, skipping(shards, root, "fp32", "gradient"), prepare=_break_gradient)[0],
        run_loop(world, skipping(shards, root, "fp32", "slow"), prepare=_slow_down)[0],
    ]


def _break_gradient(state: TrainState) -> None:
    """The first gradient of the second worker becomes infinite, once."""
    if state.world.is_first:
        return
    left = [1]

    def spoil(gradient: Tensor) -> Tensor:
        return gradient / 0 if left and left.pop() else gradient

    next(state.engine.module.autoencoder.decoder.parameters()).register_hook(spoil)


def _slow_down(state: TrainState) -> None:
    """The second worker's forward passes take longer."""
    if not state.world.is_first:
        state.engine.module.register_forward_pre_hook(lambda *_: time.sleep(SLOW_S))
