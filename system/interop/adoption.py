"""Weights from elsewhere as a checkpoint of ours: a whole recipe for them, and the folder on disk.

A flow of latents needs its autoencoder beside it, a flow of pixels the spread of its noise: neither
is in a file of flow weights. What a recipe says besides (run, data, engine) is not known of weights
that were trained elsewhere: a recipe to start from may be given, and placeholders stand in else.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from system.engine.checkpoints import AVERAGED
from system.engine.checkpoints import STATE
from system.engine.checkpoints import read_averaged
from system.engine.checkpoints import upload
from system.evaluation.subject import find_checkpoint
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior
from system.foundation.settings.engine import Engine
from system.foundation.settings.flow import Flow
from system.foundation.settings.run import Run
from system.interop.autoencoder_kl import is_autoencoder_kl
from system.interop.autoencoder_kl import load_autoencoder_kl
from system.interop.flow_weights import FlowWeights
from system.objectives.joint import JointModel

NOT_KNOWN = "not-known"
PLACEHOLDER_FLOW = Flow(width=64, depths=(1,))


@dataclass(frozen=True, slots=True, eq=False)
class Adopted:
    """A recipe, and the weights of its whole model in float32."""

    recipe: Recipe
    weights: dict[str, Tensor]
    images_seen: int


@dataclass(frozen=True, slots=True, eq=False)
class AutoencoderWeights:
    """An autoencoder's settings and weights, and where they come from."""

    url: str
    shape: Convolutional
    weights: dict[str, Tensor]

    @property
    def image_channels(self) -> int:
        """Channels of its images."""
        return int(self.weights["encoder.conv_in.weight"].shape[1])


def read_autoencoder(url: str) -> AutoencoderWeights:
    """The autoencoder of a folder in diffusers' layout, a run, a checkpoint, or released weights.

    Raises CheckpointError where there is none.
    """
    if is_autoencoder_kl(url):
        return AutoencoderWeights(url, *load_autoencoder_kl(url))
    recipe, weights, _ = read_averaged(find_checkpoint(url))
    if not isinstance(recipe.autoencoder, Convolutional):
        raise CheckpointError(f"the model at {url} is of pixels: it has no autoencoder")
    return AutoencoderWeights(url, recipe.autoencoder, part_of(weights, "autoencoder."))


def adopt_flow(
    flow: FlowWeights,
    *,
    name: str,
    autoencoder: AutoencoderWeights | None,
    noise: float | None,
    start_from: Recipe | None = None,
) -> Adopted:
    """A flow with the autoencoder whose latents it models, or of pixels.

    `noise` is the spread of the Gaussian noise that it was trained with, on pixels or on the scaled
    latent; 0 on pixels means uniform dequantisation. Raises BadInput for what does not go together.
    """
    modelled = _pixels(flow, noise) if autoencoder is None else _latents(flow, autoencoder, noise)
    size = flow.size * modelled.downsampling
    channels = flow.channels if autoencoder is None else autoencoder.image_channels
    classes = flow.classes if flow.shape.is_conditional else _unsaid_classes(start_from)
    data = _data(size, channels, classes)
    recipe = _recipe(name, data, modelled, flow.shape, "frozen", start_from)
    weights = {f"flow.{key}": value for key, value in flow.weights.items()}
    if autoencoder is not None:
        weights |= {f"autoencoder.{key}": value for key, value in autoencoder.weights.items()}
    return Adopted(recipe, _float32(weights), images_seen=0)


def adopt_autoencoder(
    autoencoder: AutoencoderWeights, *, name: str, size: int, start_from: Recipe | None = None
) -> Adopted:
    """An autoencoder for images of `size`, beside a small flow that nothing was learned by."""
    data = _data(size, autoencoder.image_channels, _unsaid_classes(start_from))
    recipe = _recipe(
        name, data, autoencoder.shape, PLACEHOLDER_FLOW, "autoencoder_only", start_from
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = JointModel(recipe).state_dict()
    known = {f"autoencoder.{key}": value for key, value in autoencoder.weights.items()}
    return Adopted(recipe, _float32(weights | known), images_seen=0)


def write_checkpoint(adopted: Adopted, url: str, *, origin: dict[str, Any]) -> None:
    """Write a committed checkpoint without a training state: to draw from, to measure, to start a
    run from. `origin` says where the weights come from. Raises BadInput where there is one.
    """
    if storage.exists(storage.join(url, STATE)):
        raise BadInput(f"out={url} has a checkpoint already; expected a folder of its own")
    state: dict[str, Any] = {
        "images_seen": adopted.images_seen,
        "attempt": 1,
        "seed": adopted.recipe.run.seed,
        "origin": origin,
        "recipe": adopted.recipe.model_dump(mode="json"),
    }
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder)
        safetensors.torch.save_file(adopted.weights, local / AVERAGED)
        (local / STATE).write_text(json.dumps(state, indent=1))
        upload(local, url, 0, 1)


def part_of(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights of one part of the model, by their names within it."""
    return {
        name.removeprefix(prefix): weight
        for name, weight in weights.items()
        if name.startswith(prefix)
    }


def run_name(url: str) -> str:
    """A run's name out of the last part of a url."""
    last = url.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:100] or "imported"


def _pixels(flow: FlowWeights, noise: float | None) -> Pixels:
    if flow.channels not in (1, 3):
        raise BadInput(
            f"the flow models {flow.channels} channels, which are no image's 1 or 3; expected "
            "autoencoder=FOLDER with the autoencoder of its latents"
        )
    if noise is None:
        raise BadInput(
            "a flow of pixels does not say with how much noise it was trained; expected "
            "noise=SPREAD of the Gaussian noise on pixels in [-1, 1] (TARFlow at 64: 0.05), or "
            "noise=0 for uniform dequantisation"
        )
    return Pixels(posterior=FixedPosterior(std=noise) if noise else UniformPosterior())


def _latents(
    flow: FlowWeights, autoencoder: AutoencoderWeights, noise: float | None
) -> Convolutional:
    shape = autoencoder.shape
    if shape.latent_channels != flow.channels:
        raise BadInput(
            f"the flow models {flow.channels} channels, and the latent of the autoencoder at "
            f"{autoencoder.url} has {shape.latent_channels}; expected the autoencoder that the "
            "flow was trained with"
        )
    changes: dict[str, Any] = {"weights": autoencoder.url}
    if noise is not None:
        if not isinstance(shape.posterior, LearnedPosterior):
            raise BadInput(
                f"noise={noise:g} for an autoencoder whose posterior has a fixed spread of "
                f"{shape.posterior.std:g}: its latents have their noise; expected noise=null"
            )
        changes["posterior"] = shape.posterior.model_copy(update={"added_noise": noise})
    return shape.model_copy(update=changes)


def _unsaid_classes(start_from: Recipe | None) -> int:
    """How many classes the images have, where the weights do not depend on it."""
    return 1 if start_from is None else start_from.data.classes


def _data(size: int, channels: int, classes: int) -> dict[str, Any]:
    return {"image_size": size, "image_channels": channels, "classes": classes}


def _recipe(
    name: str,
    data: dict[str, Any],
    autoencoder: Convolutional | Pixels,
    flow: Flow,
    route: str,
    start_from: Recipe | None,
) -> Recipe:
    sections: dict[str, Any] = {
        "run": Run(
            name=name,
            total_images=1,
            global_batch=1,
            report_every_images=1,
            checkpoint_every_images=1,
        ),
        "data": {"shards": NOT_KNOWN} | data,
        "engine": Engine(averaging_decay=0.0),  # the weights are what they are
    }
    if start_from is not None:
        kept = ("run", "cluster", "engine", "evaluation", "wandb")
        sections = {key: getattr(start_from, key) for key in kept}
        sections["data"] = start_from.data.model_dump() | data
    try:
        return Recipe(**sections, autoencoder=autoencoder, flow=flow, objective={"route": route})
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".removeprefix(": ")
            for problem in error.errors()
        )
        raise BadInput(f"no recipe can say what these weights are: {said}") from error


def _float32(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.float().contiguous() for name, weight in weights.items()}
