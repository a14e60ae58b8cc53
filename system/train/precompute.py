"""Compute what a recipe's frozen networks make of its images, once, into a feature set.

Any number of processes may take part, each with a device of its own and a share of the shards; what
is done stays done, whoever did it.
"""

import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from jaxtyping import Float32
from jaxtyping import UInt8
from pydantic import Field
from pydantic import model_validator

from data_pipeline.decoding.image_reader import BadEntry
from data_pipeline.decoding.image_reader import ImageReader
from data_pipeline.decoding.image_reader import too_many_bad
from data_pipeline.features.feature_set import encode
from data_pipeline.features.record import MIRRORED
from data_pipeline.features.record import Kind
from data_pipeline.features.unfinished import Unfinished
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import Split
from data_pipeline.shards.manifest import check_manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.placement import normalised
from system.foundation.errors import DataError
from system.foundation.errors import RecipeError
from system.foundation.recipe import Recipe
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.wording import counted
from system.train.alone import device_of
from system.train.frozen import FrozenNetworks
from system.train.frozen import build_frozen_networks
from system.train.frozen import record_for


class Precomputing(Record):
    """How features are computed and stored."""

    part: str = Field(
        "0/1",
        pattern=r"^\d+/[1-9]\d*$",
        description="which shards are this process's: 2/8 is the third of eight shares",
    )
    splits: tuple[Split, ...] = Field(
        ("train",), min_length=1, description="which images; training reads those of train alone"
    )
    batch: PositiveInt = Field(64, description="images of one pass")
    moments: Kind = Field("float32", description="how the encoder's moments are stored")
    teacher: Kind = Field("float16", description="how the teacher's tokens are stored")

    @property
    def share(self) -> tuple[int, int]:
        """This process's number, and how many there are."""
        number, count = self.part.split("/")
        return int(number), int(count)

    @model_validator(mode="after")
    def _is_one_of_them(self) -> "Precomputing":
        number, count = self.share
        if number >= count:
            raise ValueError(f"part {self.part!r}: shares are numbered 0/{count} to {count - 1}/…")
        return self


class Precompute(Recipe):
    """A recipe, and how its frozen features are computed into `data.features`."""

    precompute: Precomputing = Precomputing()


@dataclass(frozen=True, slots=True)
class Precomputed:
    """What a process has done."""

    url: str
    images: int
    seconds: float
    shards: int
    missing: int  # shards that are left to others

    def summary(self) -> str:
        """In words."""
        rate = self.images / self.seconds if self.seconds else 0.0
        text = f"{self.url}: {counted(self.images, 'image')} in "
        text += f"{counted(self.shards, 'shard')}, {rate:.0f} images/s; "
        if self.missing:
            return text + f"yet missing of other parts: {counted(self.missing, 'shard')}"
        return text + "all is there: train with data.features set to it"


def precompute(recipe: Precompute, say: Callable[[str], None] = lambda _: None) -> Precomputed:
    """Compute this process's shards that are not done; where none is missing then, finish the set.

    Raises BadInput where images, weights or what lies at `data.features` do not fit the recipe.
    """
    url, settings = recipe.data.features, recipe.precompute
    if url is None:
        raise RecipeError("data.features is null: it must name the folder or url to write into")
    manifest = read_manifest(recipe.data.shards)
    check_manifest(manifest, recipe.data)
    digests = {split: manifest.split(split).digest for split in settings.splits}
    images = replace(
        manifest, shards=tuple(each for each in manifest.shards if each.split in digests)
    )
    kinds = {"moments": settings.moments, "teacher": settings.teacher}
    networks = build_frozen_networks(recipe, device_of(recipe), kinds)
    unfinished = Unfinished(url, images, record_for(recipe, digests, networks.features))
    unfinished.start()
    done, computing = unfinished.done(), _Computing(recipe, images, networks)
    start, written = time.monotonic(), 0
    number, count = settings.share
    for index in range(number, len(images.shards), count):
        shard = images.shards[index]
        if shard.name not in done:
            unfinished.keep(shard, [*computing.members(index)])
            written += shard.samples
            rate = written / (time.monotonic() - start)
            say(f"{shard.name}: {shard.samples} images, {rate:.0f} images/s")
    seconds = time.monotonic() - start
    mine = len(range(number, len(images.shards), count))
    return Precomputed(url, written, seconds, mine, unfinished.finish())


def as_stored(
    name: str, values: Float32[np.ndarray, "B ..."], kind: Kind
) -> Float[np.ndarray, "B ..."]:
    """Values of a feature as they are stored. Raises DataError where that is no finite number."""
    with np.errstate(over="ignore"):
        stored = values.astype(kind)
    if not np.isfinite(stored).all():
        raise DataError(
            f"{name}: up to {np.abs(values).max():g}, which is not finite as {kind}. Set "
            f"precompute.{name}=float32 and another data.features; where it is float32 already, "
            "look at the weights."
        )
    return stored


class _Computing:
    """The members of a shard after the other, and the account of images that cannot be used."""

    def __init__(self, recipe: Precompute, images: Manifest, networks: FrozenNetworks) -> None:
        self._recipe = recipe
        self._images = images
        self._networks = networks
        self._reader = ImageReader(images, recipe.data)
        self._device = device_of(recipe)
        self._bad = 0

    def members(self, shard: int) -> Iterator[bytes]:
        """The member of each sample of a shard, in order: empty where its image is of no use."""
        first, end = int(self._images.first[shard]), int(self._images.first[shard + 1])
        batch = self._recipe.precompute.batch
        passes = [np.arange(start, min(start + batch, end)) for start in range(first, end, batch)]
        with ThreadPoolExecutor(1) as ahead:  # decodes while the device computes
            read = ahead.submit(self._reader.read_many, passes[0])
            for following in [*passes[1:], None]:
                pixels, bad = read.result()
                if following is not None:
                    read = ahead.submit(self._reader.read_many, following)
                yield from self._members(pixels, bad)

    def _members(
        self, pixels: UInt8[np.ndarray, "B H W C"], bad: dict[int, BadEntry]
    ) -> Iterator[bytes]:
        for entry in bad.values():
            self._count(entry)
        pixels[list(bad)] = 0
        arrays = self._arrays(pixels, "")
        if self._recipe.data.flip:
            arrays |= self._arrays(pixels[:, :, ::-1], MIRRORED)
        for row in range(len(pixels)):
            yield b"" if row in bad else encode({name: a[row] for name, a in arrays.items()})

    def _arrays(self, pixels: UInt8[np.ndarray, "B H W C"], suffix: str) -> dict[str, np.ndarray]:
        """The features of these images, as they are stored."""
        image = normalised(torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device))
        made, features = self._networks.features_of(image), self._networks.features
        return {
            name + suffix: as_stored(name, value.cpu().numpy(), features[name].dtype)
            for name, value in made.items()
        }

    def _count(self, entry: BadEntry) -> None:
        self._bad += 1
        if self._bad > self._recipe.data.max_bad_fraction * self._images.samples:
            raise too_many_bad(entry, self._bad, self._images.samples, self._recipe.data)
