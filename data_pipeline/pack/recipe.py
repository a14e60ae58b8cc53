"""The packer's settings: what to pack, how, and where to."""

from pathlib import Path
from typing import Annotated
from typing import Literal
from typing import Self

from pydantic import Field
from pydantic import model_validator

from data_pipeline.sources.source import SourceRecipe
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.record import Fraction
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

# What changes nothing in what is written, and may change when a pack is taken up again.
FREE = ("out", "workers", "max_bad_fraction")
_PLACES = ("url", "held_out_url", "train", "validation")  # settings of sources that tasks read from


class Original(Record):
    """The bytes of the source as they are."""

    kind: Literal["original"] = "original"


class Square(Record):
    """ADM centre crops of one size, encoded anew."""

    kind: Literal["square"] = "square"
    size: PositiveInt = Field(256, description="side, pixels")
    format: Literal["png", "webp", "jpeg"] = Field(
        "png", description="png and webp keep every pixel; webp is a seventh smaller"
    )
    quality: int = Field(95, ge=1, le=100, description="of JPEG, without chroma subsampling")


class PackRecipe(Record):
    """What to pack, how, and where to."""

    source: SourceRecipe = Field(description="where the images come from")
    out: str = Field(description="folder or url that the shards are written to")
    channels: Literal[1, 3] = Field(3, description="what readers decode to: 1 grey, 3 colour")
    store: Annotated[Original | Square, Field(discriminator="kind")] = Field(
        Original(), description="the bytes of the source, or squares"
    )
    held_out_fraction: Fraction = Field(
        0.0,
        description="share of samples held out, by key hash; 0 where the source has its own splits",
    )
    shard_samples: PositiveInt | None = Field(
        1000, description="images per shard; null: only shard_bytes cuts"
    )
    shard_bytes: PositiveInt | None = Field(
        None, description="bytes per shard, not to be passed; squares are estimated"
    )
    check: Literal["decode", "header"] = Field(
        "decode",
        description="decode: every image is decoded whole; header: only its header is read",
    )
    max_bad_fraction: Fraction = Field(
        0.001, description="share of unusable images past which packing stops"
    )
    workers: int | None = Field(
        0, ge=0, description="Ray tasks at once; 0: in this process; null: all CPUs of the cluster"
    )

    @model_validator(mode="after")
    def _cut(self) -> Self:
        if self.shard_samples is None and self.shard_bytes is None:
            raise ValueError("needs `shard_samples` or `shard_bytes`: nothing else cuts shards")
        return self


def check_places(recipe: PackRecipe, folder: Path) -> None:
    """Raise DataError for a place that would be another one in another process.

    That is memory, where workers are to read it, and a relative path inside the copy of the tree
    that Ray makes for a submitted job and deletes with it. `folder` is the working directory.
    """
    places = {"out": recipe.out}
    places |= {f"source.{name}": url for name, url in _places(recipe).items()}
    for key, url in places.items():
        if recipe.workers != 0 and url.startswith("memory://"):
            raise DataError(
                f"{key} is {url!r}: memory is of one process, and the workers of a cluster are "
                "others. Give a folder or the url of an object store, or workers=0."
            )
        is_relative = storage.is_local(url) and not storage.local_path(url).is_absolute()
        if is_relative and "working_dir_files" in folder.parts:
            raise DataError(
                f"{key} is {url!r}, a relative path, but this job runs in Ray's temporary copy of "
                f"the tree ({folder}), where files of yours are absent and shards would be lost. "
                f"Give an absolute path or a url: {key}=/some/shared/place."
            )


def with_absolute_paths(recipe: PackRecipe) -> PackRecipe:
    """The same for a process with another working folder."""
    places = {name: _absolute(url) for name, url in _places(recipe).items()}
    source = recipe.source.model_copy(update=places)
    return recipe.model_copy(update={"out": _absolute(recipe.out), "source": source})


def _places(recipe: PackRecipe) -> dict[str, str]:
    found = {name: getattr(recipe.source, name, None) for name in _PLACES}
    return {name: url for name, url in found.items() if url is not None}


def _absolute(url: str) -> str:
    return str(storage.local_path(url).absolute()) if storage.is_local(url) else url
