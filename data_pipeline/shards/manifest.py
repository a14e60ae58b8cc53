"""What a set of shards holds: per shard its samples' keys, labels, places and digests.

A manifest is written last, after every shard it names: a Parquet file whose footer has a head (the
shards, the classes) and whose rows are the samples. Opening reads the head alone, at any size; the
rows of a shard come when they are asked for. The digest covers everything that decides which images
a run sees, and nothing else (not where the shards lie, nor how they were packed).
"""

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from typing import get_args

import numpy as np
import xxhash
from jaxtyping import Int32
from jaxtyping import Int64

from data_pipeline.shards import local_copy
from data_pipeline.shards.columns import ColumnFile
from data_pipeline.shards.columns import RowGroup
from data_pipeline.shards.columns import ShardIndex
from data_pipeline.shards.columns import encode
from data_pipeline.shards.difference import between
from data_pipeline.shards.shard import Shard
from data_pipeline.shards.shard import Split
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.data import Data

MANIFEST_NAME = "manifest.parquet"
MANIFEST_VERSION = 2
OLD_MANIFEST_NAME = "manifest.json"  # of version 1


@dataclass(frozen=True, eq=False)
class Manifest:
    """The shards at one url. Samples are numbered through them in the order given."""

    url: str
    shards: tuple[Shard, ...]
    channels: int
    class_names: tuple[str, ...]
    image_size: int | None  # side of the stored squares; None where sizes differ
    options: Mapping[str, Any] = field(default_factory=dict)  # of the packer, for the record
    whole: "Manifest | None" = field(default=None, repr=False)  # what this is one split of

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
        """The label of every sample; of what is on disk, only their column is read."""
        files = {shard.rows.file for shard in self.shards if isinstance(shard.rows, RowGroup)}
        groups = [shard.rows.number for shard in self.shards if isinstance(shard.rows, RowGroup)]
        if len(files) == 1 and len(groups) == len(self.shards):
            return files.pop().labels(groups)
        return np.concatenate([np.empty(0, np.int32), *(shard.labels for shard in self.shards)])

    @cached_property
    def digest(self) -> str:
        """xxh3-128 of what decides the images: shards, samples, labels, channels and classes."""
        head = [MANIFEST_VERSION, self.image_size, self.channels, self.class_names]
        state = xxhash.xxh3_128(json.dumps(head).encode())
        for shard in self.shards:
            state.update(json.dumps(_shard_to_json(shard)).encode())
        return state.hexdigest()

    @cached_property
    def keys_digest(self) -> int:
        """The sum of all keys' xxh3-64 modulo 2^64, as `columns.digest_of` gives it."""
        return sum(int(shard.keys_digest, 16) for shard in self.shards) % 2**64

    def split(self, name: Split) -> "Manifest":
        """The shards of one split. Raises DataError where there are none."""
        chosen = tuple(shard for shard in self.shards if shard.split == name)
        if not chosen:
            raise DataError(
                f"{self.url}: no shard of split {name!r} among {len(self.shards)} shards. Pack "
                "with a held_out_fraction that leaves samples in both splits."
            )
        return replace(self, shards=chosen, whole=self.whole or self)

    def locate(self, sample: int) -> tuple[Shard, int]:
        """The shard that holds a sample, and the sample's row in it."""
        shard = int(np.searchsorted(self.first, sample, side="right")) - 1
        return self.shards[shard], sample - int(self.first[shard])

    def indices(self, shard: int) -> ShardIndex:
        """The rows of the shard of this number. Raises DataError where they are damaged."""
        return self.shards[shard].index

    def key(self, sample: int) -> str:
        """The key of a sample."""
        shard, row = self.locate(sample)
        return shard.index.keys[row]

    def place(self, sample: int) -> str:
        """Where the bytes of a sample's image lie, for messages: url and byte range."""
        shard, row = self.locate(sample)
        start, length = int(shard.offsets[row]), int(shard.lengths[row])
        return f"{storage.join(self.url, shard.name)} bytes {start}-{start + length}"

    def heads(self) -> dict[str, Any]:
        """What `difference` compares, fit for JSON: channels, classes, and a line per shard."""
        return {
            "channels": self.channels,
            "image_size": self.image_size,
            "class_names": list(self.class_names),
            "shards": {
                shard.name: [shard.split, shard.samples, shard.digest, shard.index_digest]
                for shard in self.shards
            },
        }

    def local_file(self) -> Path:
        """A file of this machine with this manifest, all its splits, for `open_local` to open.

        It is the manifest's own file where that is local, else a copy in this user's temporary
        folder, named by its content.
        """
        whole = self.whole or self
        head = _head(whole)
        rows = [shard.rows for shard in whole.shards]
        files = {each.file for each in rows if isinstance(each, RowGroup)}
        for file in files:
            if file.head == head and file.is_in_place():
                return file.path
        return local_copy.keep(encode(head, (shard.index for shard in whole.shards)))


def write_manifest(manifest: Manifest) -> None:
    """Write `manifest.parquet` beside the shards, whole or not at all."""
    content = encode(_head(manifest), (shard.index for shard in manifest.shards))
    storage.write_bytes(storage.join(manifest.url, MANIFEST_NAME), content)


def read_manifest(url: str) -> Manifest:
    """The manifest at `url`, with every shard it names present and of the right size.

    Raises DataError where it is missing, damaged, of another version, or at odds with the shards.
    """
    manifest = parse_manifest(url)
    check_shards(manifest)
    return manifest


def parse_manifest(url: str) -> Manifest:
    """The manifest at `url` as written, without a look at the shards. Raises DataError.

    Rows are checked when they are read, so damage among them is raised there.
    """
    place = storage.join(url, MANIFEST_NAME)
    if storage.is_local(url):
        path = storage.local_path(place)
        if path.is_file():
            return _open(path, place, url)
        raise _absent(url)
    try:
        path = local_copy.fetch(place)
    except FileNotFoundError as problem:
        raise _absent(url) from problem
    return _open(path, f"{place} (its copy {path})", url)


def open_local(file: Path, url: str) -> Manifest:
    """The manifest in a file that `local_file` gave, of shards at `url`; no storage is asked.

    Raises DataError where the file is gone or damaged.
    """
    return _open(file, str(file), url)


def difference(before: Mapping[str, Any], now: Manifest) -> list[str]:
    """What changed since `heads()` gave `before`, in words; nothing where nothing did."""
    return between(before, now.heads())


def check_shards(manifest: Manifest) -> None:
    """Raise DataError where a shard is missing or of another size than the manifest says."""
    present = shard_sizes(manifest)
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


def shard_sizes(manifest: Manifest) -> dict[str, int]:
    """Bytes of what lies in the folders of the shards, by name; one listing for each folder."""
    folders = {posixpath.dirname(shard.name) for shard in manifest.shards}
    return {
        posixpath.join(folder, name): size
        for folder in folders
        for name, size in storage.list_sizes(storage.join(manifest.url, folder)).items()
    }


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
    if data.crop in ("adm", "centre") and size is not None and size < data.image_size:
        problems.append(
            f"size: shards hold {size}x{size} images, data.image_size {data.image_size}"
        )
    if problems:
        raise DataError(
            f"{manifest.url} holds other data than the recipe expects: {'; '.join(problems)}. "
            "Point data.shards at the right shards, or correct the recipe."
        )


def _absent(url: str) -> DataError:
    place, old = storage.join(url, MANIFEST_NAME), storage.join(url, OLD_MANIFEST_NAME)
    if storage.exists(old):
        return DataError(
            f"{old}: a manifest of version 1, expected {MANIFEST_NAME} of version "
            f"{MANIFEST_VERSION}. Make one for the same shards with `python jobs/index_shards.py "
            f"{url} classes=N`, or pack again into another folder."
        )
    return DataError(
        f"{place}: no such manifest. Pack the data first: `python jobs/pack_imagenet.py "
        f"configs/pack_digits.yaml out={url}` for the digits, the same with "
        "configs/pack_photographs.yaml for patches of photographs, or `python "
        f"jobs/pack_imagenet.py source.url=FOLDER out={url}` for a folder of class folders. Shards "
        f"of others get one by `python jobs/index_shards.py {url} classes=N`."
    )


def _open(path: Path, place: str, url: str) -> Manifest:
    file = ColumnFile(path, place)
    try:
        content = json.loads(file.head)
        version = content["version"]
        if version == MANIFEST_VERSION:
            manifest = _from_json(content, file, url)
            written = content["digest"]
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        raise DataError(
            f"{place}: damaged manifest ({type(problem).__name__}: {problem}). Copy it again from "
            "where it was packed, or pack again into another folder."
        ) from problem
    if version != MANIFEST_VERSION:
        raise DataError(
            f"{place}: manifest version {version!r}, expected {MANIFEST_VERSION}. Pack or index "
            "again with this version of the code, into another folder."
        )
    if written != manifest.digest:
        raise DataError(
            f"{place}: the manifest's content has digest {manifest.digest}, but says {written}: it "
            "was changed or damaged. Copy it again from where it was packed."
        )
    return manifest


def _head(manifest: Manifest) -> bytes:
    content = {
        "version": MANIFEST_VERSION,
        "digest": manifest.digest,
        "image_size": manifest.image_size,
        "channels": manifest.channels,
        "class_names": manifest.class_names,
        "options": manifest.options,
        "shards": [_shard_to_json(shard) for shard in manifest.shards],
    }
    return json.dumps(content).encode()


def _from_json(content: Mapping[str, Any], file: ColumnFile, url: str) -> Manifest:
    rows = [shard["samples"] for shard in content["shards"]]
    if rows != file.rows:
        raise ValueError("the rows and the shards of its head differ in number")
    shards = tuple(
        _shard_from_json(shard, RowGroup(file, number))
        for number, shard in enumerate(content["shards"])
    )
    return Manifest(
        url=url,
        shards=shards,
        channels=content["channels"],
        class_names=tuple(content["class_names"]),
        image_size=content["image_size"],
        options=content["options"],
    )


def _shard_to_json(shard: Shard) -> dict[str, Any]:
    return {
        "name": shard.name,
        "split": shard.split,
        "bytes": shard.bytes,
        "samples": shard.samples,
        "digest": shard.digest,
        "index_digest": shard.index_digest,
        "keys_digest": shard.keys_digest,
    }


def _shard_from_json(content: Mapping[str, Any], rows: RowGroup) -> Shard:
    name, split = content["name"], content["split"]
    if split not in get_args(Split) or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"shard {name!r} of split {split!r}: no file below the manifest")
    return Shard(
        name=name,
        split=split,
        bytes=content["bytes"],
        digest=content["digest"],
        samples=content["samples"],
        index_digest=content["index_digest"],
        keys_digest=content["keys_digest"],
        rows=rows,
    )
