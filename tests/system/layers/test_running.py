from pathlib import Path

import torch

from system.foundation.world import World
from system.layers.running import mean_over_workers
from tests.gloo import run_workers


def own_share(world: World) -> torch.Tensor:
    return mean_over_workers(torch.tensor([1.0, 10.0]) * (world.rank + 1))


def test_alone_a_mean_is_the_value() -> None:
    value = torch.randn(3)
    assert mean_over_workers(value) is value


def test_every_worker_has_the_mean_of_all(tmp_path: Path) -> None:
    for found in run_workers(own_share, 2, tmp_path):
        assert torch.equal(found, torch.tensor([1.5, 15.0]))


def gradient_of_own_share(world: World) -> torch.Tensor:
    value = torch.ones(2, requires_grad=True)
    (mean_over_workers(value) * (world.rank + 1)).sum().backward()
    return value.grad


def test_the_losses_of_all_workers_reach_every_value(tmp_path: Path) -> None:
    for found in run_workers(gradient_of_own_share, 2, tmp_path):
        assert torch.equal(found, torch.tensor([1.5, 1.5]))
