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
from system.foundation.errors import CheckpointError
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import Pixels

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
