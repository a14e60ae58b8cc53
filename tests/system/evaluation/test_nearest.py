import io
import json
import runpy
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

from system.alignment.weights import ARGUMENTS
from system.alignment.weights import MODEL
from system.alignment.weights import write_weights
from system.evaluation import nearest as module
from system.evaluation.drawing import GRID_GAP
from system.evaluation.drawing import GRID_SIDE
from system.evaluation.nearest import Neighbouring
from system.evaluation.nearest import closest
from system.evaluation.nearest import nearest_neighbours
from system.evaluation.protocol import Protocol
from system.evaluation.scores.copies import nearest_of
from system.evaluation.sources.source import Source
from system.foundation.errors import BadInput
from system.launch.command import run

FEW = {"count": 24, "held_out": 30, "threads": 1}
NAMES = {"share", "auc", "ks", "memorised", "memorised_held_out"}


class Listed(Source):
    """Images that are there already."""

    def __init__(self, image: torch.Tensor) -> None:
        self.image = image

    def images(self, index: range) -> torch.Tensor:
        return self.image[index.start : index.stop]


def record(out: Path) -> dict:
    return json.loads((out / "eval" / "000000002560-nearest.json").read_text())


def test_every_number_is_written_with_its_protocol(commit, recipe, tmp_path):
    url, out = commit(recipe), tmp_path / "out"
    found = nearest_neighbours(url, Neighbouring(**FEW, guidance=0), output=str(out))
    assert set(found) == {f"evaluation/nearest_{name}" for name in NAMES}
    assert all(0 <= value <= 1 for value in found.values())
    written = record(out)
    assert written["preset"] == "nearest"
    one = written["measurements"]["evaluation/nearest_auc"]
    assert one["value"] == found["evaluation/nearest_auc"]
    assert one["standard_error"] is not None
    assert written["measurements"]["evaluation/nearest_share"]["standard_error"] > 0
    protocol = Protocol.model_validate(one["protocol"])
    assert protocol.digest == one["protocol_digest"]
    assert protocol.samples == 24
    assert protocol.detector.name == "digits-cnn"
    assert "1468 of train" in protocol.reference
    assert "30 held out" in protocol.reference
    assert protocol.drawing.sampler.guidance == 0


def test_numbers_and_picture_do_not_depend_on_the_parts(commit, recipe, tmp_path, monkeypatch):
    url, found = commit(recipe), []
    for part in (1024, 64):
        monkeypatch.setattr(module, "PART", part)
        out = tmp_path / str(part)
        nearest_neighbours(url, Neighbouring(**FEW, train_images=200), output=str(out))
        files = sorted(path for path in out.rglob("*") if path.is_file())
        assert [path.name for path in files] == [
            "000000002560-nearest.json", "000000002560-nearest.png",
        ]  # fmt: skip
        found.append([path.read_bytes() for path in files])
    assert found[0] == found[1]


def test_planted_copies_are_found_and_stand_first_in_the_picture(train, held_out, detector):
    """Held-out images in the place of drawn ones, with three training images among them."""
    drawn = held_out.image[:60].clone()
    drawn[[7, 30, 51]] = train.image[[900, 3, 455]]
    near = nearest_of(
        torch.cat([*module._features(Listed(drawn), 60, detector)]),
        module._features(Listed(train.image), len(train.image), detector),
        3,
    )
    assert near.index[[7, 30, 51], 0].tolist() == [900, 3, 455]
    assert near.distance[:, 0].topk(4, largest=False).values[:3].max() < 1e-4  # float32 features
    assert near.distance[:, 0].topk(4, largest=False).values[3] > 1e-2
    cells = closest(Listed(drawn), Listed(train.image), near)
    side = GRID_SIDE + GRID_GAP
    assert cells.shape == (1, module.ROWS * side, 4 * side)
    for row in range(3):
        line = cells[:, row * side : (row + 1) * side]
        assert torch.equal(line[:, :, :side], line[:, :, side : 2 * side])


def test_a_teacher_looks_in_the_place_of_the_digits_detector(commit, recipe, tmp_path):
    """A vision transformer such as jobs/train_teacher.py writes, with random weights."""
    arguments = {"img_size": 8, "patch_size": 4, "in_chans": 1, "embed_dim": 16, "num_heads": 2}
    name, place = "vit_tiny_patch16_224", tmp_path / "teacher.safetensors"
    teacher = timm.create_model(name, num_classes=10, depth=1, **arguments)
    told = {MODEL: name, ARGUMENTS: json.dumps(arguments | {"depth": 1})}
    write_weights(str(place), teacher.state_dict(), told)
    asked = Neighbouring(**FEW, detector="timm", model=name, weights=str(place), size=8)
    nearest_neighbours(commit(recipe), asked, output=str(tmp_path / "out"))
    one = record(tmp_path / "out")["measurements"]["evaluation/nearest_share"]
    assert one["protocol"]["detector"]["name"].startswith(name)


def test_a_run_without_a_flow_and_weights_that_are_not_named_are_refused(commit, recipe, tmp_path):
    alone = recipe.objective.model_copy(update={"route": "autoencoder_only"})
    url = commit(recipe.model_copy(update={"objective": alone}))
    with pytest.raises(BadInput, match="nothing to draw from"):
        nearest_neighbours(url, Neighbouring(**FEW), output=str(tmp_path / "out"))
    asked = Neighbouring(**FEW, detector="inception")
    with pytest.raises(BadInput, match="needs weights=FILE"):
        nearest_neighbours(commit(recipe), asked, output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_job_prints_every_number_and_leaves_a_picture(commit, recipe, tmp_path, capsys):
    job = runpy.run_path(str(Path(__file__).parents[3] / "jobs" / "nearest_neighbours.py"))
    arguments = [f"checkpoint={commit(recipe)}", f"out={tmp_path / 'out'}"]
    arguments += [f"{key}={value}" for key, value in FEW.items()]
    ended = run(job["main"], None, about=job["__doc__"], schema=Neighbouring, arguments=arguments)
    assert ended == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == {f"evaluation/nearest_{name}" for name in NAMES}
    picture = tmp_path / "out" / "samples" / "000000002560-nearest.png"
    assert Image.open(io.BytesIO(picture.read_bytes())).size == (200, 12 * 50)
