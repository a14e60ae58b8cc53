"""What a request to measure or draw says: the checkpoint, the images, and where things go."""

from typing import Any
from typing import Literal
from typing import TypeVar

import torch
from pydantic import Field

from system.foundation.config import record_from_mapping
from system.foundation.errors import BadInput
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

R = TypeVar("R", bound=Record)


class Chosen(Record):
    """A checkpoint, and where to compute."""

    checkpoint: str = Field(
        "runs/digits",
        description="a run's folder (its newest committed checkpoint), a checkpoint's own folder, "
        "or released weights",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="where to compute")


class Loaded(Chosen):
    """The same, and how many threads compute."""

    threads: PositiveInt | None = Field(None, description="threads; null takes one per core")


class Measured(Loaded):
    """A checkpoint, the images to measure it on, and where the numbers go."""

    shards: str | None = Field(
        None, description="folder or url with the shards; null takes what the run was trained on"
    )
    out: str | None = Field(
        None, description="folder or url for eval/ and samples/; null is the run's own folder"
    )


def device_of(wanted: Literal["cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """The device that was asked for. Raises BadInput where it is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BadInput("device=cuda: torch finds no GPU on this machine; expected device=cpu here")
    return wanted


def changed(settings: R, changes: dict[str, Any]) -> R:
    """A record with some of its keys changed, checked again as a whole. Raises RecipeError."""
    return record_from_mapping(settings.model_dump(mode="json") | changes, type(settings))
