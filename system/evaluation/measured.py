"""What a request to measure or draw says: the checkpoint, the images, and where things go."""

from typing import Literal

from pydantic import Field

from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record


class Loaded(Record):
    """A checkpoint, and what to compute with."""

    checkpoint: str = Field(
        "runs/digits",
        description="a run's folder (its newest committed checkpoint), a checkpoint's own folder, "
        "or released weights",
    )
    threads: PositiveInt | None = Field(None, description="threads; null takes one per core")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where to compute")


class Measured(Loaded):
    """A checkpoint, the images to measure it on, and where the numbers go."""

    shards: str | None = Field(
        None, description="folder or url with the shards; null takes what the run was trained on"
    )
    out: str | None = Field(
        None, description="folder or url for eval/ and samples/; null is the run's own folder"
    )
