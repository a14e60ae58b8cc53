"""(What two real workers report is in test_blame.py, which starts them anyway.)"""

import time

import pytest
import torch

from system.foundation.world import World
from system.train.guards.stragglers import Stopwatch
from system.train.guards.stragglers import compared
from system.train.guards.stragglers import straggler


@pytest.mark.parametrize(
    ("own_s", "rank", "ratio"),
    [
        ([1.0, 2.0], 1, 2.0),
        ([2.0, 1.0], 0, 2.0),
        ([1.0, 1.0, 1.0], 0, 1.0),
        ([1.0, 1.2, 3.0, 1.0], 2, 3.0),
        ([1.0, 9.0, 1.0, 3.0, 2.0], 1, 6.0),
    ],
)
def test_the_slowest_is_compared_with_the_median_of_the_others(own_s, rank, ratio) -> None:
    found = compared(own_s)
    assert found["throughput/slowest_rank"] == rank
    assert found["throughput/straggler_ratio"] == pytest.approx(ratio)


def test_alone_nobody_is_slow() -> None:
    assert straggler(World(), 1.0) == {}


def test_a_stopwatch_counts_what_is_within() -> None:
    watch = Stopwatch(torch.device("cpu"))
    assert watch.seconds() == 0
    for _ in range(2):
        with watch.running():
            time.sleep(0.02)
    assert watch.seconds() >= 0.04


@pytest.mark.gpu
def test_a_stopwatch_counts_what_a_gpu_works() -> None:
    device = torch.device("cuda", 0)
    watch, given = Stopwatch(device), torch.ones(4096, 4096, device=device)
    with watch.running():
        for _ in range(50):
            given = given @ given * 0
    assert watch.seconds() > 0
