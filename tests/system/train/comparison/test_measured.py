import json
import math
from pathlib import Path

import pytest

from system.foundation.settings.evaluation import Sampler
from system.train.comparison.measured import drawn_by
from system.train.comparison.measured import latents_of
from system.train.comparison.runs import Finished


def test_latents_are_looked_at_once_and_read_back(joint_run: Finished) -> None:
    values = latents_of(joint_run)
    assert 0 < values["evaluation/spectral_entropy"] <= 1
    (file,) = (Path(joint_run.folder) / "eval").glob("*-latents.json")
    written = file.stat().st_mtime_ns
    assert latents_of(joint_run) == values
    assert file.stat().st_mtime_ns == written
    # Without noise it is the run's own measure.
    assert values["evaluation/rfid_noise_000"] == pytest.approx(
        joint_run.values["evaluation/rfid"], rel=1e-6
    )


def test_what_a_sampler_draws_is_what_the_runs_evaluation_measured(joint_run: Finished) -> None:
    own = Sampler(guidance=joint_run.recipe.evaluation.guidance)
    drawn = drawn_by(joint_run, {"none": Sampler(guidance=0), "own": own})
    for name in ("evaluation/gfid", "evaluation/sfid", "evaluation/conditional_accuracy"):
        assert drawn["own"][name] == pytest.approx(joint_run.values[name], rel=1e-9)
        unguided = joint_run.values[f"{name}_unguided"]
        assert drawn["none"][name] == pytest.approx(unguided, rel=1e-9)

    place = Path(joint_run.folder) / "eval" / "drawn.json"
    kept = json.loads(place.read_text())
    kept["own"]["values"]["evaluation/gfid"] = 7.5
    place.write_text(json.dumps(kept))
    assert drawn_by(joint_run, {"own": own})["own"]["evaluation/gfid"] == 7.5
    other = own.model_copy(update={"guidance": 4.0})
    assert drawn_by(joint_run, {"own": other})["own"]["evaluation/gfid"] != 7.5
    place.unlink()


def test_images_that_are_not_finite_are_told_and_not_drawn_again(frozen_run: Finished) -> None:
    hot = Sampler(guidance=0, temperature=1e30)
    drawn = drawn_by(frozen_run, {"hot": hot})
    assert all(math.isnan(value) for value in drawn["hot"].values())
    assert all(math.isnan(value) for value in drawn_by(frozen_run, {"hot": hot})["hot"].values())
