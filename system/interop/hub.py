"""Weights as model hubs hold them: one folder with safetensors, a config and a card, out and in.

    write_hub("runs/digits", "released/digits", licence="apache-2.0")
    recipe, weights = read_hub("released/digits")

The folder can be given wherever a checkpoint can: to draw, to evaluate, to start a run from. What
it holds, and what is checked when it is read, is in `system.engine.released`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from torch import Tensor

from system.engine.checkpoints import read_averaged
from system.engine.checkpoints import read_state
from system.engine.released import CONFIG
from system.engine.released import FORMAT
from system.engine.released import VERSION
from system.engine.released import WEIGHTS
from system.engine.released import digest_of
from system.engine.released import read_released
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import run_of
from system.foundation import storage
from system.foundation.config import recipe_digest
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Pixels
from system.interop.model_card import Evaluated
from system.interop.model_card import Release
from system.interop.model_card import model_card

CARD = "README.md"
AUTOENCODER = "autoencoder."
_EVALUATION = re.compile(r"(\d{12,})-[a-z0-9_]+\.json")


def write_hub(checkpoint: str, out: str, *, licence: str | None = None) -> list[str]:
    """Release a checkpoint (or a run's newest): the urls of what was written into `out`.

    The card has the numbers of the run's evaluation of this checkpoint, or of its newest one.
    Raises CheckpointError where there is no checkpoint or it is damaged.
    """
    url = find_checkpoint(checkpoint)
    recipe, weights, images_seen = read_averaged(url)
    state = read_state(url)
    data = safetensors.torch.save(
        {name: weight.contiguous() for name, weight in weights.items()}, {"format": "pt"}
    )
    release = Release(
        recipe=recipe,
        images_seen=images_seen,
        parameters=sum(weight.numel() for weight in weights.values()),
        weights_digest=digest_of(data),
        autoencoder_digest=_autoencoder_digest(recipe, weights),
        manifest_digest=state.get("manifest_digest"),
        origin=_origin(state.get("origin")),
        licence=licence,
        evaluation=_evaluated(run_of(url), images_seen),
    )
    files = {
        WEIGHTS: data,
        CARD: model_card(release).encode(),
        CONFIG: (json.dumps(_config(release), indent=1) + "\n").encode(),  # last: it vouches
    }
    for name, content in files.items():
        storage.write_bytes(storage.join(out, name), content)
    return [storage.join(out, name) for name in files]


def read_hub(folder: str) -> tuple[Recipe, dict[str, Tensor]]:
    """Recipe and averaged weights of a released folder or url, as they were. Raises CheckpointError
    where it is none, or damaged."""
    recipe, weights, _ = read_released(folder)
    return recipe, weights


def _config(release: Release) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "images_seen": release.images_seen,
        "averaging_decay": release.recipe.engine.averaging_decay,
        "weights_digest": release.weights_digest,
        "autoencoder_digest": release.autoencoder_digest,
        "manifest_digest": release.manifest_digest,
        "origin": None if release.origin is None else {"format": release.origin},
        "recipe_digest": recipe_digest(release.recipe),
        "recipe": release.recipe.model_dump(mode="json"),
    }


def _origin(said: Mapping[str, Any] | None) -> str | None:
    """The code base that the weights were taken over from. A hub is none: what counts is where the
    release had them from."""
    while said is not None and said.get("format") == "hub":
        said = said.get("origin")
    return None if said is None else said.get("format")


def _autoencoder_digest(recipe: Recipe, weights: Mapping[str, Tensor]) -> str | None:
    """32 hexadecimal digits of the autoencoder's weights, by name; None for a flow of pixels."""
    if isinstance(recipe.autoencoder, Pixels):
        return None
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(name for name in weights if name.startswith(AUTOENCODER)):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _evaluated(run: str | None, images_seen: int) -> Evaluated | None:
    """What the run's evaluations at these images say, or else at the most; None without any."""
    if run is None:
        return None
    folder = storage.join(run, "eval")
    found = [match for name in storage.list_names(folder) if (match := _EVALUATION.fullmatch(name))]
    if not found:
        return None
    counts = {int(match[1]) for match in found}
    at = images_seen if images_seen in counts else max(counts)
    measurements: dict[str, Any] = {}
    for match in found:
        if int(match[1]) == at:
            record = json.loads(storage.read_text(storage.join(folder, match[0])))
            for name, one in record["measurements"].items():  # of several presets, all of them
                measurements[f"{name} ({record['preset']})" if name in measurements else name] = one
    return Evaluated(at, measurements)
