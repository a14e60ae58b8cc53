import pytest
import torch
from torch import nn

from system.launch.plan.network.gathers import Limits
from system.launch.plan.network.messages import UNTRAINED
from system.launch.plan.network.messages import Message
from system.launch.plan.network.messages import Weight
from system.launch.plan.network.messages import messages
from system.launch.plan.network.messages import starting
from system.launch.plan.network.messages import weights_of

WEIGHTS = (Weight(101, 0), Weight(7, 1), Weight(50, UNTRAINED), Weight(60, 0))
BF16, FP32 = 2, 4


def total(found: list[Message], kind: str) -> int:
    return sum(each.size for each in found if each.kind == kind)


def test_weights_stand_in_their_order_with_their_groups() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    module[1].bias.requires_grad_(requires_grad=False)
    assert weights_of(module) == (Weight(6, 0), Weight(2, 1), Weight(2, 1), Weight(2, UNTRAINED))
    with torch.device("meta"):
        assert weights_of(nn.Linear(3, 2)) == (Weight(6, 0), Weight(2, 1))


@pytest.mark.parametrize("stage", range(4))
def test_a_single_worker_sends_nothing(stage) -> None:
    assert messages(WEIGHTS, stage, BF16, 1) == []
    assert starting(WEIGHTS, BF16, 1) == []


def test_each_worker_sends_twice_what_it_reduces_and_once_what_it_gathers() -> None:
    assert Message("all-reduce", "step", 800).sent(4) == 1200
    assert Message("all-gather", "step", 800).sent(4) == 600


def test_stage_3_handles_every_workers_piece_of_every_weight_in_its_passes() -> None:
    assert Message("all-gather", "forward", 800, 3).pieces(4) == 12
    assert Message("reduce-scatter", "backward", 800, 3).pieces(4) == 12
    assert Message("all-gather", "step", 800, 3).pieces(4) == 0
    assert Message("all-reduce", "backward", 800, 3).pieces(4) == 0


def test_stage_0_reduces_what_is_trained_once_an_update() -> None:
    assert messages(WEIGHTS, 0, FP32, 4, 3) == [Message("all-reduce", "step", 4 * 168, 3)]


def test_stage_1_in_bf16_reduces_once_and_gathers_what_moved() -> None:
    found = messages(WEIGHTS, 1, BF16, 4, 3)
    assert total(found, "all-reduce") == total(found, "all-gather") == BF16 * (168 + 8)
    assert {each.when for each in found} == {"step"}


def test_stage_2_reduces_in_every_pass() -> None:
    once, thrice = (messages(WEIGHTS, 2, BF16, 4, passes) for passes in (1, 3))
    checks = 1 + 2 * 4
    assert total(thrice, "all-reduce") - checks == 3 * (total(once, "all-reduce") - checks)
    assert total(thrice, "all-gather") == total(once, "all-gather") == BF16 * (168 + 8)


def test_buckets_are_as_many_as_the_numbers_need() -> None:
    found = messages(WEIGHTS, 2, BF16, 4, limits=Limits(bucket=100))
    sizes = [each.size for each in found if each.when == "backward"]
    assert sizes == [BF16 * 67, BF16 * 101]


def test_stage_3_fills_every_weight_up_and_gathers_small_ones_after_the_step() -> None:
    limits = Limits(kept=10)
    found = messages(WEIGHTS, 3, BF16, 4, 2, limits=limits)
    assert total(found, "reduce-scatter") == 2 * BF16 * (104 + 8 + 60)
    in_passes = [each for each in found if each.kind == "all-gather" and each.when != "step"]
    assert sum(each.size for each in in_passes) == 2 * BF16 * (104 + 52 + 60)
    assert [each.size for each in found if each.kind == "all-gather" and each.when == "step"] == [
        BF16 * 8
    ]


def test_a_start_sends_every_weight() -> None:
    assert total(starting(WEIGHTS, BF16, 2), "broadcast") == BF16 * (168 + 50)
