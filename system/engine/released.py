"""A folder of released weights, as model hubs hold them: read where a checkpoint is read.

    simflow-digits/
        model.safetensors   averaged weights, float32
        config.json         recipe, images seen, digest of the weights; written last
        README.md           the model card

Written by `system.interop.hub`; here because whatever reads a checkpoint reads these as well.
"""

import hashlib
import json
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from system.foundation import storage
from system.foundation.config import recipe_from_mapping
from system.foundation.errors import CheckpointError
from system.foundation.errors import RecipeError
from system.foundation.recipe import Recipe

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
FORMAT = "latent-flows"
VERSION = 1


def is_released(url: str) -> bool:
    """Whether a folder or url holds released weights."""
    return all(storage.exists(storage.join(url, name)) for name in (WEIGHTS, CONFIG))


def read_config(url: str) -> dict[str, Any]:
    """What config.json says: `recipe` and `images_seen` as in a checkpoint's state, and more.

    Raises CheckpointError where it is not one of ours, or of a version that this code cannot read.
    """
    place = storage.join(url, CONFIG)
    try:
        config = json.loads(storage.read_text(place))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{place} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(
            f"{place} does not say that its format is {FORMAT}: the weights beside it are of "
            "another code base; jobs/import_weights.py reads some of these"
        )
    if config.get("format_version") != VERSION:
        raise CheckpointError(
            f"{place} is of format version {config.get('format_version')}, this code reads "
            f"{VERSION}: take the code that wrote it"
        )
    return config


def read_released(url: str) -> tuple[Recipe, dict[str, Tensor], int]:
    """Recipe, averaged weights (by name) and images seen of a folder of released weights.

    Raises CheckpointError where something is absent, damaged, or not of this format.
    """
    config = read_config(url)
    try:
        data = storage.read_bytes(storage.join(url, WEIGHTS))
        if digest_of(data) != config["weights_digest"]:
            raise CheckpointError(
                f"{WEIGHTS} has {len(data):,} bytes of another digest than {CONFIG} says: it was "
                "cut short, changed, or is a pointer to what was not fetched"
            )
        weights = safetensors.torch.load(data)
        return recipe_from_mapping(config["recipe"]), weights, int(config["images_seen"])
    except (CheckpointError, SafetensorError, RecipeError, KeyError, FileNotFoundError) as error:
        raise CheckpointError(f"released weights at {url} cannot be used: {error}") from error


def digest_of(data: bytes) -> str:
    """32 hexadecimal digits that name a file's content."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
