from system.foundation.settings.flow import Flow
from system.foundation.settings.run import Cluster
from system.launch.plan.published import JOINT


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


def test_a_plan_says_where_its_speed_comes_from(planned) -> None:
    assert any(JOINT.source in each for each in planned().warnings)
    assumed = planned({"mfu": 0.5, "images_per_gpu": 2}).warnings
    assert any("50% of the peak, which is assumed" in each for each in assumed)
    assert any("another run" in each for each in assumed)
    measured = planned({"images_per_gpu_s": 10.0}).warnings
    assert not any("of the peak" in each for each in measured)


def test_a_plan_says_where_the_network_binds(planned) -> None:
    slow = planned({"mfu": 1.0, "counts": (1, 4, 8)}).warnings
    told = [each for each in slow if "the rest goes to" in each]
    assert len(told) == 1
    assert told[0].startswith("4 x H100-80GB compute")


def test_what_cannot_work_is_told(planned) -> None:
    found = planned({"usable_memory": 1e-4})
    assert any("cluster.workers=4 works on none" in each for each in found.warnings)
    wide = Cluster(workers=1, micro_batch=8)
    (whole,) = planned({"counts": (1,)}, cluster=wide).rows
    room = (whole.memory_bytes - 1) / 80e9
    cut = planned({"counts": (1,), "usable_memory": room}, cluster=wide)
    assert any("cluster.micro_batch=8 does not fit" in each for each in cut.warnings)
