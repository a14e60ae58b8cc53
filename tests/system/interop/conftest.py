"""A run with a committed checkpoint and an evaluation of it, with weights that no one trained."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import Protocol
from system.evaluation.protocol import write_evaluation
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.interop.adoption import Adopted
from system.interop.adoption import write_checkpoint
from system.objectives.joint import JointModel
from tests.system.conftest import stir

IMAGES_SEEN = 640
AUTOENCODER = Convolutional(width=8, multipliers=(1, 1), blocks_per_level=1, latent_channels=3)


def evaluation(images_seen: int, value: float) -> Evaluation:
    """One number, with its protocol."""
    nothing: dict[str, object] = dict.fromkeys(Protocol.model_fields)
    said = {
        "preset": "digits",
        "metric": "fid",
        "samples": 300,
        "reference": "0123 held out",
        "averaging_decay": 0.999,
        "compute_dtype": "float32",
    }
    protocol = Protocol.model_validate(nothing | said)
    measured = Measurement(
        name="evaluation/gfid", value=value, protocol=protocol, standard_error=0.25
    )
    return Evaluation(
        images_seen=images_seen,
        checkpoint="-",
        preset="digits",
        measurements=(measured,),
        seconds={},
    )


def weights_of(recipe: Recipe) -> dict[str, Tensor]:
    """Weights of the recipe's model, none of them at zero."""
    torch.manual_seed(0)
    return {name: value.clone() for name, value in stir(JointModel(recipe)).state_dict().items()}


@pytest.fixture
def run(tmp_path: Path, make_recipe: Callable[..., Recipe]) -> str:
    """The folder of a run."""
    folder = str(tmp_path / "runs" / "tiny")
    place = f"{folder}/checkpoints/{IMAGES_SEEN:012d}-1"
    recipe = make_recipe(autoencoder=AUTOENCODER)
    write_checkpoint(Adopted(recipe, weights_of(recipe), IMAGES_SEEN), place, origin={})
    state = json.loads(Path(place, "state.json").read_text())
    assert state["images_seen"] == IMAGES_SEEN
    for images_seen, value in ((320, 9.0), (IMAGES_SEEN, 4.5)):
        write_evaluation(evaluation(images_seen, value), folder)
    return folder
