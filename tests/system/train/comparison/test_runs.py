import math
from pathlib import Path

import pytest

from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import read_averaged
from system.foundation.errors import BadInput
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.comparison.arms import autoencoder_arm
from system.train.comparison.arms import spread_arm
from system.train.comparison.request import Comparison
from system.train.comparison.runs import Finished
from system.train.comparison.runs import finished_run
from system.train.comparison.runs import latent_std


def weights_of(folder: str) -> dict:
    newest = CheckpointStore(f"{folder}/checkpoints").latest()
    assert newest is not None
    return read_averaged(newest.url)[1]


def test_a_run_is_trained_once_and_found_again(joint_run: Finished, request_of: Comparison) -> None:
    before = read_ledger(joint_run.folder)
    again = finished_run(spread_arm("joint", "0.5"), 3, request_of)
    assert read_ledger(joint_run.folder) == before
    assert again == joint_run
    assert joint_run.seconds > 0
    assert joint_run.values["evaluation/gfid"] > 0


def test_a_frozen_flow_starts_from_the_autoencoder_of_its_spread_scaled_to_unit_variance(
    frozen_run: Finished, request_of: Comparison
) -> None:
    alone = f"{request_of.root}/autoencoder-0.5-3"
    before, after = weights_of(alone), weights_of(frozen_run.folder)
    for name, weight in before.items():
        if name.startswith("autoencoder."):
            # The frozen part lies in the engine in bf16.
            assert (weight - after[name]).abs().max() <= 2**-8 * weight.abs().max()
    reports = [one["values"] for one in read_ledger(alone) if one["kind"] == "report"]
    assert latent_std(alone) == pytest.approx(math.hypot(reports[-1]["latent/mean_std"], 0.5))
    scale = frozen_run.recipe.autoencoder.latent_scale
    assert scale == pytest.approx(1 / latent_std(alone), rel=1e-3)
    [own] = [one["values"] for one in read_ledger(frozen_run.folder) if one["kind"] == "report"]
    total = math.hypot(own["latent/mean_std"], own["latent/posterior_std"])
    assert total == pytest.approx(1, abs=0.1)  # the batches are others


def test_a_run_of_another_recipe_is_not_taken_for_this_one(
    joint_run: Finished, request_of: Comparison
) -> None:
    longer = request_of.model_copy(update={"total_images": 128})
    with pytest.raises(BadInput, match=r"run\.total_images=64 \(expected 128\).*another root"):
        finished_run(spread_arm("joint", "0.5"), 3, longer)
    elsewhere = request_of.model_copy(update={"shards": "moved/elsewhere"})
    assert finished_run(spread_arm("joint", "0.5"), 3, elsewhere).values == joint_run.values


def test_a_run_that_fell_before_its_evaluation_is_evaluated_afterwards(
    request_of: Comparison, tmp_path: Path
) -> None:
    arm, request = autoencoder_arm("0.3"), request_of.model_copy(update={"root": str(tmp_path)})
    whole = finished_run(arm, 3, request)
    for part in Path(whole.folder, "ledger").iterdir():
        part.unlink()
    with Ledger(whole.folder, "worker-0", run="r", attempt=1) as ledger:
        ledger.write("run_finished", images_seen=64, seconds=1.5)
    again = finished_run(arm, 3, request)
    assert again.seconds == 1.5
    for name in ("evaluation/rfid", "evaluation/psnr_db"):
        assert again.values[name] == whole.values[name]
