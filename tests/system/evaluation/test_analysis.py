import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from system.evaluation.analysis import Analysis
from system.evaluation.analysis import analyse
from system.evaluation.analysis import analyse_to_table
from system.evaluation.protocol import Protocol
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.evaluation import NoEvaluation

pytestmark = pytest.mark.usefixtures("detector")  # trained once, beside the runs


def test_writes_every_number_with_its_protocol_and_what_lies_between(
    commit, recipe, root, tmp_path
):
    run = root / tmp_path.name
    values = analyse(commit(recipe), output=str(run))
    written = json.loads((run / "eval" / "000000002560-latents.json").read_text())
    for name, measured in written["measurements"].items():
        assert values[name] == measured["value"]
        assert Protocol.model_validate(measured["protocol"]).digest == measured["protocol_digest"]
    png = (run / "samples" / "000000002560-interpolation.png").read_bytes()
    assert np.asarray(Image.open(io.BytesIO(png))).shape == (8 * 50, 9 * 50)


def test_the_command_answers_with_a_table(commit, recipe, root, tmp_path):
    commit(recipe)
    out = tmp_path / "elsewhere"
    request = Analysis(
        checkpoint=str(root / tmp_path.name), shards=recipe.data.shards, out=str(out), threads=1
    )
    table = analyse_to_table(request)
    assert table.splitlines()[0].startswith("evaluation/spectral_entropy")
    assert sorted(path.name for path in Path(out).iterdir()) == ["eval", "samples"]


def test_a_run_that_is_not_evaluated_is_analysed_on_request(commit, recipe, root, tmp_path):
    """As weights that were taken over are: they come with no evaluation."""
    url = commit(recipe.model_copy(update={"evaluation": NoEvaluation()}))
    request = Analysis(checkpoint=url, out=str(root / f"{tmp_path.name}-analysed"), threads=1)
    assert "spectral_entropy" in analyse_to_table(request)


def test_a_device_that_is_not_there_is_refused(commit, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    request = Analysis(checkpoint=commit(recipe), out=str(tmp_path), device="cuda")
    with pytest.raises(BadInput, match="torch finds no GPU"):
        analyse_to_table(request)


def test_a_flow_on_pixels_has_statistics_alone(commit, recipe, root, tmp_path):
    pixels = recipe.model_copy(
        update={
            "autoencoder": Pixels(posterior=FixedPosterior(std=0.1)),
            "objective": recipe.objective.model_copy(update={"route": "frozen"}),
        }
    )
    values = analyse(commit(pixels), output=str(root / tmp_path.name))
    assert "evaluation/autocorrelation" in values
    assert not [name for name in values if "noise" in name]


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no committed checkpoint"):
        analyse_to_table(Analysis(checkpoint=str(tmp_path)))
