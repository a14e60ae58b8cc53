"""What a set of shards holds: per shard its samples' keys, labels, places and digests.

A manifest is written last, after every shard it names. Its digest covers everything that decides
which images a run sees, and nothing else (not where the shards lie, nor how they were packed).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import cached_property
from typing import Any
from typing import Literal

import numpy as np
import xxhash
from jaxtyping import Int32
from jaxtyping import Int64
from jaxtyping import UInt64

from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.data import Data

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1
Split = Literal["train", "held_out"]


@dataclass(frozen=True, eq=False)
class Shard:
    """One tar: what it weighs, and where in it the image of each sample lies."""

    name: str
    split: Split
    bytes: int
    digest: str  # xxh3-128 of the whole file, hexadecimal
    keys: tuple[str, ...]
    labels: Int32[np.ndarray, "samples"]
    offsets: Int64[np.ndarray, "samples"]
    lengths: Int64[np.ndarray, "samples"]
    digests: UInt64[np.ndarray, "samples"]  # xxh3-64 of each image's bytes

    @property
    def samples(self) -> int:
        """Samples in this shard."""
        return len(self.keys)


@dataclass(frozen=True, eq=False)
class Manifest:
    """The shards at one url. Samples are numbered through them in the order given."""

    url: str
    shards: tuple[Shard, ...]
    channels: int
    class_names: tuple[str, ...]
    image_size: int | None  # side of the stored squares; None where sizes differ
    options: Mapping[str, Any] = field(default_factory=dict)  # of the packer, for the record

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def samples(self) -> int:
        """Samples in all shards."""
        return int(self.first[-1])

    @property
    def bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @cached_property
    def first(self) -> Int64[np.ndarray, "bounds"]:
        """The number of each shard's first sample, and the total."""
        counts = [shard.samples for shard in self.shards]
        return np.concatenate([[0], np.cumsum(np.asarray(counts, np.int64))]).astype(np.int64)

    @cached_property
    def labels(self) -> Int32[np.ndarray, "samples"]:
        """The label of every sample."""
        return np.concatenate([np.empty(0, np.int32), *(shard.labels for shard in self.shards)])

    @cached_property
    def digest(self) -> str:
        """xxh3-128 of what decides the images: shards, samples, labels, channels and classes."""
        head = [MANIFEST_VERSION, self.image_size, self.channels, self.class_names]
        state = xxhash.xxh3_128(json.dumps(head).encode())
        for shard in self.shards:
            row = [shard.name, shard.split, shard.bytes, shard.digest, shard.keys]
            state.update(json.dumps(row).encode())
            for column in (shard.labels, shard.offsets, shard.lengths, shard.digests):
                state.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()

    def split(self, name: Split) -> "Manifest":
        """The shards of one split. Raises DataError where there are none."""
        chosen = tuple(shard for shard in self.shards if shard.split == name)
        if not chosen:
            raise DataError(
                f"{self.url}: no shard of split {name!r} among {len(self.shards)} shards. Pack "
                "with a held_out_fraction that leaves samples in both splits."
            )
        return replace(self, shards=chosen)

    def locate(self, sample: int) -> tuple[Shard, int]:
        """The shard that holds a sample, and the sample's row in it."""
        shard = int(np.searchsorted(self.first, sample, side="right")) - 1
        return self.shards[shard], sample - int(self.first[shard])

    def key(self, sample: int) -> str:
        """The key of a sample."""
        shard, row = self.locate(sample)
        return shard.keys[row]

    def place(self, sample: int) -> str:
        """Where the bytes of a sample's image lie, for messages: url and byte range."""
        shard, row = self.locate(sample)
        start = int(shard.offsets[row])
        return (
            f"{storage.join(self.url, shard.name)} bytes {start}-{start + int(shard.lengths[row])}"
        )


def write_manifest(manifest: Manifest) -> None:
    """Write `manifest.json` beside the shards, whole or not at all."""
    text = json.dumps(
        {
            "version": MANIFEST_VERSION,
            "digest": manifest.digest,
            "samples": manifest.samples,
            "bytes": manifest.bytes,
            "image_size": manifest.image_size,
            "channels": manifest.channels,
            "class_names": manifest.class_names,
            "options": manifest.options,
            "shards": [_shard_to_json(shard) for shard in manifest.shards],
        }
    )
    storage.write_bytes(storage.join(manifest.url, MANIFEST_NAME), text.encode())


def read_manifest(url: str) -> Manifest:
    """The manifest at `url`, with every shard it names present and of the right size.

    Raises DataError where it is missing, damaged, of another version, or at odds with the shards.
    """
    manifest = parse_manifest(url)
    check_shards(manifest)
    return manifest


def parse_manifest(url: str) -> Manifest:
    """The manifest at `url` as written, without a look at the shards. Raises DataError."""
    place = storage.join(url, MANIFEST_NAME)
    if not storage.exists(place):
        raise DataError(
            f"{place}: no such manifest. Pack the data first: `python jobs/pack_imagenet.py "
            f"configs/pack_digits.yaml out={url}` for the digits, the same "
            "with configs/pack_photographs.yaml for patches of photographs, or `python "
            f"jobs/pack_imagenet.py source.url=FOLDER out={url}` for a folder of class folders."
        )
    try:
        content = json.loads(storage.read_bytes(place))
        if content["version"] != MANIFEST_VERSION:
            raise DataError(
                f"{place}: manifest version {content['version']!r}, expected {MANIFEST_VERSION}. "
                "Pack again with this version of the code, into another folder."
            )
        manifest = Manifest(
            url=url,
            shards=tuple(_shard_from_json(shard) for shard in content["shards"]),
            channels=content["channels"],
            class_names=tuple(content["class_names"]),
            image_size=content["image_size"],
            options=content["options"],
        )
        written = content["digest"]
    except (ValueError, KeyError, TypeError, OverflowError) as problem:
        raise DataError(
            f"{place}: damaged manifest ({type(problem).__name__}: {problem}). Copy it again from "
            "where it was packed, or pack again into another folder."
        ) from problem
    if written != manifest.digest:
        raise DataError(
            f"{place}: the manifest's content has digest {manifest.digest}, but says {written}: it "
            "was changed or damaged. Copy it again from where it was packed."
        )
    return manifest


def check_shards(manifest: Manifest) -> None:
    """Raise DataError where a shard is missing or of another size than the manifest says."""
    present = storage.list_sizes(manifest.url)
    problems = [
        f"{shard.name} is missing"
        if shard.name not in present
        else f"{shard.name} has {present[shard.name]} bytes, expected {shard.bytes}"
        for shard in manifest.shards
        if present.get(shard.name) != shard.bytes
    ]
    if problems:
        listed = "; ".join(problems[:5]) + ("; …" if len(problems) > 5 else "")
        raise DataError(
            f"{manifest.url}: {len(problems)} of {len(manifest.shards)} shards do not match the "
            f"manifest: {listed}. Copy them again, or pack again (the same command and options "
            "restore the same shards)."
        )


def check_manifest(manifest: Manifest, data: Data) -> None:
    """Raise one DataError with everything in which the shards are not what the recipe expects."""
    size = manifest.image_size
    problems = []
    if manifest.channels != data.image_channels:
        problems.append(
            f"channels: shards {manifest.channels}, data.image_channels {data.image_channels}"
        )
    if manifest.classes != data.classes:
        problems.append(f"classes: shards {manifest.classes}, data.classes {data.classes}")
    if data.crop == "none" and size != data.image_size:
        held = "images of several sizes" if size is None else f"{size}x{size} images"
        problems.append(
            f"size: shards hold {held}, data.image_size {data.image_size}, data.crop none"
        )
    if data.crop == "adm" and size is not None and size < data.image_size:
        problems.append(
            f"size: shards hold {size}x{size} images, data.image_size {data.image_size}"
        )
    if problems:
        raise DataError(
            f"{manifest.url} holds other data than the recipe expects: {'; '.join(problems)}. "
            "Point data.shards at the right shards, or correct the recipe."
        )


def _shard_to_json(shard: Shard) -> dict[str, Any]:
    return {
        "name": shard.name,
        "split": shard.split,
        "samples": shard.samples,
        "bytes": shard.bytes,
        "digest": shard.digest,
        "keys": shard.keys,
        "labels": shard.labels.tolist(),
        "offsets": shard.offsets.tolist(),
        "lengths": shard.lengths.tolist(),
        "digests": [f"{digest:016x}" for digest in shard.digests.tolist()],
    }


def _shard_from_json(content: Mapping[str, Any]) -> Shard:
    columns = [content[name] for name in ("keys", "labels", "offsets", "lengths", "digests")]
    if any(len(column) != content["samples"] for column in columns):
        raise ValueError(f"columns of {content['name']} differ in length")
    return Shard(
        name=content["name"],
        split=content["split"],
        bytes=content["bytes"],
        digest=content["digest"],
        keys=tuple(content["keys"]),
        labels=np.asarray(content["labels"], np.int32),
        offsets=np.asarray(content["offsets"], np.int64),
        lengths=np.asarray(content["lengths"], np.int64),
        digests=np.asarray([int(digest, 16) for digest in content["digests"]], np.uint64),
    )
