"""Real images out of packed shards: a whole split of them, its first ones, or some drawn by a seed.

`path` says what happens on the way. `plain`: the crop of the settings. `tarflow`: what TARFlow's
script does to the training images that it takes as reference; see `tarflow_loader`.
"""

import hashlib
import json
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from jaxtyping import UInt8
from torch import Tensor

from data_pipeline.decoding.image_reader import ImageReader
from data_pipeline.images.crop import mirrored
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import check_manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.shards.shard import Split
from system.evaluation.sources.source import Source
from system.evaluation.sources.tarflow_loader import TorchvisionReader
from system.evaluation.sources.tarflow_loader import as_loaded
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from system.foundation.settings.data import Data
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.streams import generator

Path = Literal["plain", "tarflow"]
Choice = Literal["first", "seeded"]
Crop = Literal["none", "adm", "centre"]


class ShardImages(Record):
    """Images of one split of a set of shards."""

    kind: Literal["shards"] = "shards"
    url: str
    digest: str  # of the shards' content, and of all below
    split: Split
    crop: Literal["none", "adm", "centre", "torchvision"]
    size: PositiveInt  # side of the square images, pixels
    channels: Literal[1, 3]
    classes: PositiveInt
    choice: Choice
    seed: int  # of the choice, and of what is mirrored
    path: Path
    count: PositiveInt

    @property
    def height(self) -> int:
        """Pixels."""
        return self.size

    @property
    def width(self) -> int:
        """Pixels."""
        return self.size

    def data(self) -> Data:
        """The settings by which the shards are read."""
        return Data(
            shards=self.url,
            image_size=self.size,
            image_channels=self.channels,
            classes=self.classes,
            crop="adm" if self.crop == "torchvision" else self.crop,
        )


def shard_images(
    data: Data,
    split: Split,
    *,
    count: int | None = None,
    choice: Choice = "first",
    seed: int = 0,
    path: Path = "plain",
) -> ShardImages:
    """So many images (or all) of a split, as these settings read them. A choice or a seed that
    decides nothing is no part of the record.

    A random crop is a means of training: images are measured by ADM's crop instead; the path
    `tarflow` has a crop of its own. Raises DataError for shards that are absent or of other data,
    BadInput where they hold fewer images.
    """
    manifest = read_manifest(data.shards)
    check_manifest(manifest, data)
    there = manifest.split(split).samples
    if count is not None and count > there:
        raise BadInput(
            f"{data.shards} holds {there} images of split {split}; expected at least the {count} "
            "that were asked for. Ask for fewer, or for another split"
        )
    crop: Crop = "adm" if data.crop == "random_resized" else data.crop
    choice = "first" if count in (None, there) else choice
    seed = 0 if (choice, path) == ("first", "plain") else seed
    record = ShardImages(
        url=storage.absolute(data.shards),
        digest="",
        split=split,
        crop="torchvision" if path == "tarflow" else crop,
        size=data.image_size,
        channels=data.image_channels,
        classes=data.classes,
        choice=choice,
        seed=seed,
        path=path,
        count=count or there,
    )
    return record.model_copy(update={"digest": _digest(record, manifest)})


class ShardSource(Source):
    """Opened shards."""

    def __init__(self, record: ShardImages, manifest: Manifest) -> None:
        self._record = record
        self._manifest = manifest
        self._chosen = _chosen(record, manifest.samples)
        reads = TorchvisionReader if record.crop == "torchvision" else ImageReader
        self._reader = reads(manifest, record.data())

    def images(self, index: range) -> UInt8[Tensor, "N C H W"]:
        """The images of these numbers. Raises DataError where one of them cannot be read."""
        pixels, bad = self._reader.read_many(self._chosen[index.start : index.stop])
        if bad:
            entry = next(iter(bad.values()))
            raise DataError(
                f"{entry.place}: {entry.key} cannot be used ({entry.reason}), and with it "
                f"{len(bad)} of {len(index)} images; none is left out of a measurement. `python "
                f"jobs/verify_shards.py {self._record.url}` names the damaged shards: copy or "
                "pack them again"
            )
        image = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
        if self._record.path == "tarflow":
            return as_loaded(image, mirrored(self._record.seed, index))
        return image

    def labels(self, index: range) -> Int[Tensor, "N"]:
        """Their classes."""
        chosen = self._chosen[index.start : index.stop]
        return torch.from_numpy(self._manifest.labels[chosen].astype(np.int64))


def open_shards(record: ShardImages) -> ShardSource:
    """The shards of a record. Raises DataError where they are others by now."""
    manifest = read_manifest(record.url)
    found = _digest(record, manifest)
    if found != record.digest:
        raise DataError(
            f"{record.url}: found images with digest {found}, expected {record.digest}: the shards "
            "were packed again since they were chosen. Measure them again"
        )
    return ShardSource(record, manifest.split(record.split))


def _chosen(record: ShardImages, there: int) -> Int[np.ndarray, "N"]:
    """The numbers, in the split, of the images chosen; ascending, so that shards are read once."""
    if record.choice == "first":
        return np.arange(record.count)
    order = generator(record.seed, "evaluation/images").permutation(there)
    return np.sort(order[: record.count])


def _digest(record: ShardImages, manifest: Manifest) -> str:
    decides = record.model_dump(mode="json", exclude={"url", "digest"})
    text = json.dumps([manifest.split(record.split).digest, decides], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
