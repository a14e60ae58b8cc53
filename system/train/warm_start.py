"""The weights that an autoencoder or a flow starts from: those of a run of ours, or brought in.

`autoencoder.weights` and `flow.weights` name a checkpoint, a run or released weights, whose
averaged weights are taken; the former also a folder in diffusers' layout. What lies there tells
which. Flows of other code bases are brought in by jobs/import_weights.py, which makes a checkpoint.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from system.autoencoder.autoencoder import Autoencoder
from system.engine.checkpoints import flaw
from system.engine.checkpoints import read_averaged
from system.evaluation.subject import find_checkpoint
from system.flow.flow import Flow
from system.foundation.config import flatten
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.interop.autoencoder_kl import is_autoencoder_kl
from system.interop.autoencoder_kl import load_autoencoder_kl
from system.interop.differences import differences
from system.interop.differences import listed
from system.objectives.joint import JointModel
from system.objectives.routes import ROUTES

KEY = "autoencoder.weights"
# What a flow is trained by, and how: a start may differ in these.
FREE_KEYS = ("weights", "label_drop", "checkpoint_activations")


def warm_start(autoencoder: Autoencoder, url: str) -> None:
    """Give `autoencoder` the weights at `url`. Raises CheckpointError where they do not fit."""
    weights = _of_diffusers(autoencoder, url) if is_autoencoder_kl(url) else _of_a_run(url)
    _check(autoencoder, weights, url)
    autoencoder.load_state_dict(weights)


def warm_start_flow(flow: Flow, url: str) -> None:
    """Give `flow` the weights at `url`. Raises CheckpointError where its form or shape is another:
    the same numbers mean something else with another scale or order.
    """
    found, averaged, _ = read_averaged(_find(url, "flow.weights"))
    if "flow" not in ROUTES[found.objective.route].trained:
        raise CheckpointError(
            f"flow.weights: no flow was trained at {url}: its objective.route was "
            f"{found.objective.route}. Give a run that trained one, or null"
        )
    theirs, ours = flatten(found.flow), flatten(flow.shape)
    differing = [
        f"flow.{key}: {theirs.get(key)} there, {ours.get(key)} in the recipe"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key) and key not in FREE_KEYS
    ]
    weights = _part(averaged, "flow.")
    shapes = {name: value.shape for name, value in flow.state_dict().items()}
    if problems := differing or differences(shapes, weights):
        raise CheckpointError(
            f"flow.weights: the flow at {url} is another one than this recipe's:{listed(problems)}"
            "\nSet flow.* as in its recipe, and the data's classes and image size as they were"
        )
    flow.load_state_dict(weights)


def check_warm_start(recipe: Recipe) -> None:
    """Raise CheckpointError where the weights to start from are absent, damaged or of no use.

    Files are read whole, for their digests. Whether a run's weights fit is seen when it starts.
    """
    if recipe.flow.weights is not None:
        _check_run(recipe.flow.weights, "flow.weights")
    url = recipe.autoencoder.weights
    if url is None:
        return
    if is_autoencoder_kl(url):
        with torch.device("meta"):
            autoencoder = JointModel(recipe).autoencoder
        assert isinstance(autoencoder, Autoencoder)
        _check(autoencoder, _of_diffusers(autoencoder, url), url)
        return
    _check_run(url, KEY)


def _check_run(url: str, key: str) -> None:
    checkpoint = _find(url, key)
    if (reason := flaw(checkpoint)) is not None:
        raise CheckpointError(
            f"{key}: {checkpoint} cannot be used: {reason}. Give another "
            "checkpoint of that run, or the run's folder for its newest committed one."
        )


def _of_a_run(url: str) -> dict[str, Tensor]:
    _, averaged, _ = read_averaged(_find(url, KEY))
    return _part(averaged, "autoencoder.")


def _part(averaged: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): weight
        for name, weight in averaged.items()
        if name.startswith(prefix)
    }


def _find(url: str, key: str) -> str:
    try:
        return find_checkpoint(url)
    except CheckpointError as error:
        more = " (A folder of an AutoencoderKL would have a config.json.)" if key == KEY else ""
        raise CheckpointError(f"{key}: {error}{more}") from error


def _of_diffusers(autoencoder: Autoencoder, url: str) -> dict[str, Tensor]:
    """An AutoencoderKL's weights; statistics of latents, which it has none of, begin afresh."""
    try:
        shape, weights = load_autoencoder_kl(url)
    except CheckpointError as error:
        raise CheckpointError(f"autoencoder.weights: {error}") from error
    if differing := _differing(autoencoder.shape, shape):
        raise CheckpointError(
            f"autoencoder.weights: the AutoencoderKL at {url} is of another shape than this "
            f"recipe's autoencoder:{listed(differing)}"
        )
    statistics = {
        name: value
        for name, value in autoencoder.state_dict().items()
        if name.startswith("batch_statistics.")
    }
    if statistics and not autoencoder.encoder.conv_in.weight.requires_grad:
        raise CheckpointError(
            f"autoencoder.normalise is batch, but the AutoencoderKL at {url} remembers no "
            "statistics of its latents, and a frozen encoder gathers none. Set "
            "autoencoder.normalise=none; autoencoder.latent_scale is its config's scaling_factor"
        )
    return weights | statistics


def _differing(recipe: Convolutional, found: Convolutional) -> list[str]:
    """One line for each setting that decides the weights' shapes and is another in the file."""
    ours, theirs = recipe.model_dump(), found.model_dump()
    ours["posterior.kind"], theirs["posterior.kind"] = recipe.posterior.kind, found.posterior.kind
    keys = ("width", "multipliers", "blocks_per_level", "latent_channels", "attention")
    return [
        f"autoencoder.{key}: {theirs[key]} there, {ours[key]} in the recipe"
        for key in (*keys, "posterior.kind")
        if ours[key] != theirs[key]
    ]


def _check(autoencoder: Autoencoder, weights: Mapping[str, Tensor], url: str) -> None:
    shapes = {name: value.shape for name, value in autoencoder.state_dict().items()}
    if problems := differences(shapes, weights):
        raise CheckpointError(
            f"autoencoder.weights: the autoencoder at {url} is of another shape than this "
            f"recipe's:{listed(problems)}\nSet autoencoder.* as in that run's recipe.yaml, and "
            "data.image_channels as it was"
        )
