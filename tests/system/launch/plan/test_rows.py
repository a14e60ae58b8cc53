import math

import pytest

from system.foundation.settings.engine import Engine
from system.foundation.settings.run import Cluster
from system.launch.plan.answer import ROOT
from system.launch.plan.compute import Compute
from system.launch.plan.compute import computed
from system.launch.plan.compute import on_gpu
from system.launch.plan.hardware import read_gpus
from system.launch.plan.published import JOINT
from system.launch.plan.request import Planning
from system.launch.plan.rows import Row
from system.launch.plan.rows import Rows
from system.launch.plan.shadow import Shadow
from system.launch.plan.shadow import shadow

(H100,) = read_gpus(ROOT / "configs" / "plan" / "gpus.yaml", ("H100-80GB",))
IMAGE_BYTES = 1000.0
COUNTED: dict[str, tuple[Shadow, Compute]] = {}  # by recipe: counting is what takes the time


@pytest.fixture
def told(make_recipe):
    """Rows of a tiny recipe: `plan` keys, counts, and sections of the recipe."""

    def make(keys: dict[str, object], *counts: int, **sections: object) -> list[Row]:
        recipe = make_recipe(**({"cluster": Cluster(workers=4, micro_batch=2)} | sections))
        key = recipe.model_dump_json()
        if key not in COUNTED:
            made = shadow(recipe, "cuda")
            COUNTED[key] = (made, computed(made))
        made_of = Rows.of(*COUNTED[key], Planning.model_validate(keys), IMAGE_BYTES)
        return [made_of.row(H100, count) for count in counts]

    return make


def test_time_hours_and_cost_follow_from_the_operations_and_the_network(told) -> None:
    half, whole, double = told({"mfu": 0.5}, 2, 4, 8)
    flops = next(iter(COUNTED.values()))[1].flops
    assert whole.images_per_s == pytest.approx(4 * 0.5 * 989e12 / flops * whole.efficiency)
    assert 0 < double.efficiency < half.efficiency < 1
    assert whole.seconds == pytest.approx(64 / whole.images_per_s)
    assert whole.gpu_hours == pytest.approx(4 * whole.seconds / 3600)
    assert half.gpu_hours < double.gpu_hours
    assert whole.cost == pytest.approx(3.24 * whole.gpu_hours)
    assert whole.read_bytes_per_s == pytest.approx(whole.images_per_s * IMAGE_BYTES)


def test_one_gpu_knows_no_network(told) -> None:
    (row,) = told({}, 1)
    flops = next(iter(COUNTED.values()))[1].flops
    assert row.efficiency == 1
    assert row.own.sent_bytes == 0
    assert row.images_per_s == pytest.approx(JOINT.mfu * 989e12 / flops)


def test_a_measured_rate_takes_the_place_of_the_assumed_one(told) -> None:
    (row,) = told({"images_per_gpu_s": 10.0}, 4)
    assert row.images_per_s == pytest.approx(40.0 * row.efficiency)


def test_what_the_network_took_of_a_measured_rate_is_not_taken_twice(told) -> None:
    half, same, double = told({"images_per_gpu_s": 10.0, "measured_gpus": 4}, 2, 4, 8)
    assert same.images_per_s == pytest.approx(40.0, rel=1e-6)
    assert half.images_per_s > 20.0
    assert double.images_per_s < 80.0


def test_every_stage_has_the_pass_that_it_has_room_for(told) -> None:
    (row,) = told({}, 4)
    assert [each.stage for each in row.stages] == [1, 2, 3]
    assert row.own == row.stages[1]
    assert row.best.images_per_s == max(each.images_per_s for each in row.stages)
    (whole,) = told({}, 4, engine=Engine(zero_stage=0))
    assert [each.stage for each in whole.stages] == [0, 1, 2, 3]


def test_gradients_behind_the_way_back_cost_less(told) -> None:
    full, none, configured = (
        told({"overlap": overlap, "mfu": 1e-4}, 8)[0].own
        for overlap in ("full", "none", "configured")
    )
    assert full.images_per_s > none.images_per_s
    assert configured.images_per_s in (full.images_per_s, none.images_per_s)
    assert full.sent_bytes == none.sent_bytes


def test_a_batch_may_grow_with_the_gpus(told) -> None:
    found = told({"images_per_gpu": 2}, 3, 4096)
    assert [row.micro_batch for row in found] == [2, 2]
    assert not any(row.problem for row in found)


def test_a_batch_that_does_not_divide_is_no_row_and_says_what_does(told) -> None:
    (row,) = told({}, 3)
    assert row.problem == "8 images do not divide; 1, 2, 4 GPUs do"
    assert math.isinf(row.seconds)
    assert row.cost is None
    assert row.best is None


def test_what_does_not_fit_is_told_with_what_it_needs(told) -> None:
    for row in told({"usable_memory": 1e-5}, 2, 4):
        assert row.problem.startswith("does not fit: a pass of one image needs")
        assert row.efficiency == 0


def test_a_pass_that_is_too_large_is_cut(told) -> None:
    cluster = Cluster(workers=1, micro_batch=8)
    told({}, 1, cluster=cluster)
    made, compute = next(
        counted for counted in COUNTED.values() if counted[0].recipe.cluster == cluster
    )
    room = (on_gpu(made, compute, 1, 5).total + 1) / 80e9
    (row,) = told({"usable_memory": room}, 1, cluster=cluster)
    assert (row.largest, row.micro_batch) == (5, 4)
