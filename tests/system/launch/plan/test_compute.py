import pytest

from system.foundation.settings.flow import Flow
from system.foundation.settings.run import Cluster
from system.launch.plan.compute import computed
from system.launch.plan.compute import largest_pass
from system.launch.plan.compute import on_gpu
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


def test_the_largest_pass_is_the_last_that_fits(make_recipe) -> None:
    recipe = make_recipe(cluster=Cluster(workers=1))
    made = shadow(recipe, "cuda")
    compute = computed(made)
    room = on_gpu(made, compute, 1, 5).total
    assert largest_pass(made, compute, 1, room) == 5
    assert largest_pass(made, compute, 1, room - 1) == 4
    assert largest_pass(made, compute, 1, 1e12) == recipe.run.global_batch
    assert largest_pass(made, compute, 1, 0) == 0


def test_checkpointing_is_planned_both_ways_whatever_the_recipe_has(planned) -> None:
    flow = Flow(width=16, depths=(4, 4), head_width=8)
    one = planned(flow=flow).memory
    other = planned(flow=flow.model_copy(update={"checkpoint_activations": True})).memory
    assert one == other
    assert one["2 checkpointed"].activations < one["2"].activations


def test_a_pass_has_a_share_of_its_operations_forward(planned) -> None:
    compute = planned().compute
    forward = sum(compute.forward_flops.values())
    assert compute.forward_share == pytest.approx(forward / compute.flops)
    assert 0.2 < compute.forward_share < 0.5
