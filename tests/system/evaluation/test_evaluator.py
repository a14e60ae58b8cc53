import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Photographs
from system.evaluation.evaluator import evaluate
from system.evaluation.measures.digits import detectors_folder
from system.evaluation.protocol import Protocol
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.evaluation import NoEvaluation
from system.foundation.settings.flow import Unconditional
from system.telemetry.metrics import unregistered

pytestmark = pytest.mark.usefixtures("detector")  # trained once, beside the runs


def changed(recipe, **sections):
    updates = {
        name: getattr(recipe, name).model_copy(update=update) for name, update in sections.items()
    }
    return recipe.model_copy(update=updates)


def record(run: str) -> dict:
    (file,) = (Path(run) / "eval").iterdir()
    return json.loads(file.read_text())


def test_writes_every_number_with_its_protocol_and_a_grid(commit, recipe, root, tmp_path):
    url = commit(recipe)
    run = str(root / tmp_path.name)
    found = evaluate(url, output=run)
    assert unregistered(found) == []
    written = record(run)
    assert written["images_seen"] == 2560
    assert written["checkpoint"] == url.rpartition("/")[2]
    assert "seconds" not in written  # equal results are equal bytes
    for name, measured in written["measurements"].items():
        assert found[name] == measured["value"]
        assert Protocol.model_validate(measured["protocol"]).digest == measured["protocol_digest"]
    assert written["measurements"]["evaluation/classifier_accuracy"]["value"] >= 0.98
    png = (Path(run) / "samples" / "000000002560.png").read_bytes()
    assert np.asarray(Image.open(io.BytesIO(png))).shape == (500, 500)

    again = str(root / f"{tmp_path.name}-again")
    batches = changed(recipe, evaluation={"batch": 100, "batches_in_flight": 2})
    other = evaluate(url, batches, output=again)
    for name in set(found) - {"evaluation/seconds_s"}:
        # A pixel at the edge of two levels may round to the other one under another batch.
        assert other[name] == pytest.approx(found[name], rel=1e-3, abs=1e-6), name


def test_an_autoencoder_alone_is_measured_by_its_reconstructions(commit, recipe, root, tmp_path):
    alone = changed(recipe, objective={"route": "autoencoder_only"})
    found = evaluate(commit(alone), output=str(root / tmp_path.name))
    assert "evaluation/rfid" in found
    assert not [name for name in found if "gfid" in name or "bits" in name]
    assert not (root / tmp_path.name / "samples").exists()


def test_a_flow_on_pixels_is_measured_without_reconstructions(commit, recipe, root, tmp_path):
    pixels = changed(recipe, objective={"route": "frozen"}, flow={"patch": 2})
    pixels = pixels.model_copy(update={"autoencoder": Pixels(posterior=FixedPosterior(std=0.1))})
    found = evaluate(commit(pixels), output=str(root / tmp_path.name))
    assert not [name for name in found if "rfid" in name or "psnr" in name]
    assert {"evaluation/gfid", "evaluation/bits_per_dim", "evaluation/bayes_accuracy"} <= set(found)


def test_a_flow_without_classes_is_measured_without_labels(commit, recipe, root, tmp_path):
    sampler = {"guidance_against": "temperature", "attention_temperature": 0.5}
    bare = changed(recipe, flow={"condition": Unconditional()}, evaluation=sampler)
    run = str(root / tmp_path.name)
    found = evaluate(commit(bare), output=run)
    assert {"evaluation/gfid", "evaluation/gfid_unguided", "evaluation/bits_per_dim"} <= set(found)
    assert not [name for name in found if "bayes" in name or "gradient" in name]
    assert not [name for name in found if "conditional" in name]
    drawing = record(run)["measurements"]["evaluation/gfid"]["protocol"]["drawing"]
    assert drawing["labels"] == "none"
    assert drawing["sampler"]["attention_temperature"] == 0.5


def test_colour_patches_of_photographs_are_measured_like_digits(recipe, commit, root, tmp_path):
    shards = str(tmp_path / "photographs")
    pack(PackRecipe(source=Photographs(stride=24), out=shards))
    data = {"shards": shards, "image_size": 16, "image_channels": 3, "classes": 8}
    colour = changed(recipe, data=data, run={"root": str(tmp_path)})
    found = evaluate(commit(colour), output=str(root / tmp_path.name))
    assert found["evaluation/classifier_accuracy"] > 0.5
    assert found["evaluation/gfid"] > found["evaluation/gfid_floor"]
    png = (root / tmp_path.name / "samples" / "000000002560.png").read_bytes()
    assert np.asarray(Image.open(io.BytesIO(png))).shape == (8 * 50, 500, 3)


def test_no_evaluation_is_refused_with_the_cure(commit, recipe, root, tmp_path):
    none = recipe.model_copy(update={"evaluation": NoEvaluation()})
    with pytest.raises(BadInput, match=r"evaluation\.kind=digits"):
        evaluate(commit(none), output=str(root / tmp_path.name))


def test_missing_shards_are_refused_and_nothing_is_written(commit, recipe, root, tmp_path):
    gone = changed(recipe, data={"shards": str(tmp_path / "gone")})
    with pytest.raises(DataError, match="gone"):
        evaluate(commit(recipe), gone, output=str(root / tmp_path.name))
    assert not (root / tmp_path.name / "eval").exists()


@pytest.mark.parametrize(
    ("run", "folder"),
    [
        ("runs/digits", "runs/detectors"),
        ("/a/runs/digits/", "/a/runs/detectors"),
        ("s3://bucket/runs/digits", "s3://bucket/runs/detectors"),
        ("digits", "./detectors"),
    ],
)
def test_detectors_lie_beside_the_runs(run, folder):
    assert detectors_folder(run) == folder
