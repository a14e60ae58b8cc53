import math

import pytest

from system.foundation.settings.flow import Flow
from system.foundation.settings.run import Cluster
from system.launch.plan.forecast import computed
from system.launch.plan.forecast import largest_pass
from system.launch.plan.forecast import on_gpu
from system.launch.plan.shadow import shadow
from system.objectives.joint import JointModel


def test_parameters_are_exact_and_by_part(planned, make_recipe) -> None:
    parameters = planned().compute.parameters
    model = JointModel(make_recipe())
    assert parameters == {
        "encoder": sum(w.numel() for w in model.autoencoder.encoder.parameters()),
        "decoder": sum(w.numel() for w in model.autoencoder.decoder.parameters()),
        "flow": sum(w.numel() for w in model.flow.parameters()),
    }


def test_time_hours_and_cost_follow_from_the_operations(planned) -> None:
    found = planned({"mfu": 0.5})
    half, whole, double = found.rows
    assert [row.count for row in found.rows] == [2, 4, 8]
    rate = 0.5 * 989e12 / found.compute.flops
    assert whole.images_per_s == pytest.approx(4 * rate)
    assert whole.seconds == pytest.approx(found.total_images / whole.images_per_s)
    assert whole.gpu_hours == pytest.approx(4 * whole.seconds / 3600)
    assert half.gpu_hours == pytest.approx(double.gpu_hours)
    assert whole.cost == pytest.approx(3.24 * whole.gpu_hours)
    assert whole.read_bytes_per_s == pytest.approx(whole.images_per_s * found.storage.image)


def test_a_measured_rate_takes_the_place_of_the_assumed_one(planned) -> None:
    found = planned({"images_per_gpu_s": 10.0})
    assert [row.images_per_s for row in found.rows] == [20.0, 40.0, 80.0]
    assert not any("assumed" in warning for warning in found.warnings)
    assert any("assumed" in warning for warning in planned().warnings)


def test_a_batch_that_does_not_divide_is_no_row_and_says_what_does(planned) -> None:
    (row,) = planned({"counts": (3,)}).rows
    assert row.problem == "8 images do not divide; 1, 2, 4 GPUs do"
    assert math.isinf(row.seconds)
    assert row.cost is None


def test_what_does_not_fit_is_told_with_what_it_needs(planned) -> None:
    found = planned({"usable_memory": 1e-4})
    assert all(
        row.problem.startswith("does not fit: a pass of one image needs") for row in found.rows
    )
    assert any("cluster.workers=4 works on none" in warning for warning in found.warnings)


def test_the_largest_pass_is_the_last_that_fits(make_recipe) -> None:
    recipe = make_recipe(cluster=Cluster(workers=1))
    made = shadow(recipe, "cuda")
    compute = computed(made)
    room = on_gpu(made, compute, 1, 5).total
    assert largest_pass(made, compute, 1, room) == 5
    assert largest_pass(made, compute, 1, room - 1) == 4
    assert largest_pass(made, compute, 1, 1e12) == recipe.run.global_batch
    assert largest_pass(made, compute, 1, 0) == 0


def test_a_pass_that_is_too_large_is_cut_and_told(planned, make_recipe) -> None:
    recipe = make_recipe(cluster=Cluster(workers=1, micro_batch=8))
    made = shadow(recipe, "cuda")
    room = (on_gpu(made, computed(made), 1, 5).total + 1) / 80e9
    found = planned(
        {"usable_memory": room, "counts": (1,)}, cluster=Cluster(workers=1, micro_batch=8)
    )
    (row,) = found.rows
    assert (row.largest, row.micro_batch) == (5, 4)
    assert any("cluster.micro_batch=8 does not fit" in warning for warning in found.warnings)


def test_checkpointing_is_planned_both_ways_whatever_the_recipe_has(planned) -> None:
    flow = Flow(width=16, depths=(4, 4), head_width=8)
    one = planned(flow=flow).memory
    other = planned(flow=flow.model_copy(update={"checkpoint_activations": True})).memory
    assert one == other
    assert one["2 checkpointed"].activations < one["2"].activations


def test_blocks_that_are_chosen_are_planned_as_what_is_checkpointed(planned) -> None:
    flow = Flow(width=16, depths=(2, 6), head_width=8)
    whole, deep = (
        planned(flow=flow.model_copy(update={"checkpoint_activations": which})).memory
        for which in (True, (1,))
    )
    assert deep["2"] == whole["2"]
    found = [each.activations for each in (whole["2 checkpointed"], deep["2 checkpointed"])]
    assert found[0] < found[1] < whole["2"].activations


def test_a_plan_of_data_that_is_not_there_says_so(planned) -> None:
    stored = planned().storage
    assert not stored.image_is_known
    assert stored.dataset is None
    assert planned({"image_bytes": 1000}).storage.read == 64 * 1000
