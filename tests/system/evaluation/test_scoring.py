"""The command that measures: checkpoints by their run's protocol or another, anyone's samples."""

import json
import runpy
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from system.evaluation.detectors.digits import digits_url
from system.evaluation.measures.digits import detectors_folder
from system.evaluation.reference.request import ReferenceRequest
from system.evaluation.reference.request import make_reference
from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.evaluation.scoring import Scoring
from system.evaluation.scoring import evaluate_to_table
from system.foundation.errors import BadInput
from system.foundation.errors import RecipeError
from system.foundation.settings.evaluation import NoEvaluation
from system.launch.command import run


def score(**asked) -> str:
    return evaluate_to_table(Scoring(**asked), nullcontext)


def written(out) -> dict:
    [file] = (Path(out) / "eval").glob("*.json")
    return json.loads(file.read_text())


@pytest.mark.usefixtures("detector")
def test_settings_of_ones_own_go_to_a_folder_of_ones_own(commit, recipe, root, tmp_path):
    url = commit(recipe.model_copy(update={"evaluation": NoEvaluation()}))
    folder = root / tmp_path.name
    with pytest.raises(BadInput, match="out=FOLDER"):
        score(checkpoint=str(folder), guidance=2.0)
    out = root / f"{tmp_path.name}-guided"
    said = score(
        checkpoint=str(folder), guidance=2.0, out=str(out), shards=recipe.data.shards, batch=64
    )
    record = written(out)
    assert record["checkpoint"] == Path(url).name
    gfid = record["measurements"]["evaluation/gfid"]
    assert gfid["protocol"]["drawing"]["sampler"]["guidance"] == 2.0
    assert f"{gfid['value']:.6g} ±" in said
    assert not (folder / "eval").exists()


def test_keys_of_another_kind_of_evaluation_are_refused(checkpoint, tmp_path):
    with pytest.raises(RecipeError, match="reference"):
        score(checkpoint=checkpoint, reference="some.npz", out=str(tmp_path))
    with pytest.raises(RecipeError, match="reference: missing"):
        score(checkpoint=checkpoint, kind="adm_50k", detector="d.pth", out=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def judged(recipe, bench, root):
    """The digits detector's file, and a reference of the held-out digits that it made."""
    detector = digits_url(detectors_folder(str(root / "any")), _digest(recipe))
    asked = ReferenceRequest(
        preset="digits",
        detector=detector,
        shards=recipe.data.shards,
        crop="none",
        out=str(root / "references"),
    )
    return {"detector": detector, "reference": make_reference(asked, nullcontext).url}


def _digest(recipe) -> str:
    from data_pipeline.shards.manifest import read_manifest

    return read_manifest(recipe.data.shards).digest


def test_samples_of_anyones_are_measured_like_those_we_draw(checkpoint, judged, tmp_path):
    sample_to_folder(Sampling(checkpoint=checkpoint, out=str(tmp_path / "drawn"), count=240))
    samples = str(tmp_path / "drawn" / "samples.npz")
    grey = np.load(samples)["arr_0"][..., :1]
    np.savez(tmp_path / "grey.npz", arr_0=grey)
    said = score(
        samples=str(tmp_path / "grey.npz"), kind="digits", count=240, out=str(tmp_path), **judged
    )
    record = written(tmp_path)
    gfid = record["measurements"]["evaluation/gfid"]
    assert gfid["protocol"]["drawing"] == "given"
    assert gfid["protocol"]["samples"] == 240
    assert gfid["interval"][0] < gfid["corrected"] < gfid["interval"][1]
    assert {"evaluation/precision", "evaluation/recall", "evaluation/kid"} <= set(
        record["measurements"]
    )
    assert "evaluation/sfid" in said
    other = str(tmp_path / "other.npz")
    np.savez(other, arr_0=255 - grey)
    with pytest.raises(BadInput, match="numbers of other samples"):
        score(samples=other, kind="digits", count=240, out=str(tmp_path), **judged)
    assert written(tmp_path) == record
    assert not (tmp_path / "eval" / "units").exists()


@pytest.mark.parametrize("missing", ["kind", "reference", "detector", "out"])
def test_samples_need_a_whole_protocol(missing, tmp_path):
    asked = {"kind": "digits", "reference": "r", "detector": "d", "out": str(tmp_path)}
    del asked[missing]
    with pytest.raises(BadInput, match=f"without {missing}"):
        score(samples="theirs.npz", **asked)


def test_how_samples_were_drawn_cannot_be_said_afterwards(tmp_path):
    with pytest.raises(BadInput, match="found guidance, seed beside samples"):
        score(samples="theirs.npz", guidance=1.0, seed=3, out=str(tmp_path))


def run_job(arguments: list[str]) -> int:
    """The exit code of jobs/evaluate.py, run in this process."""
    job = runpy.run_path(str(Path(__file__).parents[3] / "jobs" / "evaluate.py"))
    return run(job["main"], None, about=job["__doc__"], schema=Scoring, arguments=arguments)


def test_the_job_refuses_bad_input_with_one_message(tmp_path, capsys):
    assert run_job([f"checkpoint={tmp_path}"]) == 2
    assert "no committed checkpoint" in capsys.readouterr().err
    assert run_job(["guidnace=1"]) == 2
    assert "guidance" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert run_job(["--help"]) == 0
    assert "python jobs/evaluate.py" in capsys.readouterr().out
