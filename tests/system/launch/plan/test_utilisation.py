"""The share of a peak is plain arithmetic over what a pass takes, and absent without a peak."""

from system.launch.plan.answer import ROOT
from system.launch.plan.shadow import count
from system.launch.plan.shadow import shadow
from system.launch.plan.utilisation import METRIC
from system.launch.plan.utilisation import Utilisation
from system.launch.plan.utilisation import flops_per_image
from system.launch.plan.utilisation import utilisation

TABLE = ROOT / "configs" / "plan" / "gpus.yaml"


def test_a_run_at_the_peak_of_all_its_gpus_uses_all_of_it() -> None:
    counted = Utilisation(flops_per_image=2e9, peaks={"A": 1e12})
    assert counted.values(images_per_s=4 * 500, workers=4, device="A") == {METRIC: 1.0}
    assert counted.values(images_per_s=500, workers=4, device="A") == {METRIC: 0.25}
    assert counted.values(images_per_s=500, workers=4, device="B") == {}


def test_what_is_computed_again_to_save_memory_is_no_work(make_recipe) -> None:
    recipe = make_recipe()
    flow = recipe.flow.model_copy(update={"checkpoint_activations": True})
    checkpointed = recipe.model_copy(update={"flow": flow})
    assert flops_per_image(checkpointed) == flops_per_image(recipe)
    assert count(shadow(checkpointed, "cuda"), 2).flops > 2 * flops_per_image(recipe)


def test_gpus_of_the_table_are_known_by_the_names_that_cuda_gives(make_recipe) -> None:
    counted = utilisation(make_recipe(), "cuda", TABLE)
    assert counted is not None
    for name in ("NVIDIA H200", "NVIDIA H100 80GB HBM3", "NVIDIA L40S"):
        assert 0 < counted.values(1.0, 1, name)[METRIC] < 1


def test_no_device_without_a_peak_is_counted_and_no_run_fails_to_start(
    make_recipe, tmp_path, caplog
) -> None:
    assert utilisation(make_recipe(), "cpu", TABLE) is None
    assert utilisation(make_recipe(), "cuda", tmp_path / "none.yaml") is None
    assert "reports say no MFU" in caplog.text
