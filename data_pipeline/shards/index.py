"""Where the samples of a tar lie: what the packer records, and what foreign shards lack.

Shards written by plain `webdataset.ShardWriter` become readable here with one call:

    write_manifest(build_manifest("s3://bucket/shards", class_names=("cat", "dog"), channels=3))
"""

import io
import posixpath
import re
import tarfile
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import read_appearance
from data_pipeline.shards.columns import ShardIndex
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.shard import Shard
from data_pipeline.shards.shard import Split
from data_pipeline.shards.shard import make_shard
from system.foundation import storage
from system.foundation.errors import DataError

IMAGE_EXTENSIONS = ("bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp")
_NAME = re.compile(r"^(?P<key>(?:.*/)?[^./]+)\.(?P<extension>[^/]+)$")  # as webdataset cuts names


@dataclass(slots=True)
class _Member:
    """What a tar says about one sample while its members pass by."""

    key: str
    label: int | None = None
    offset: int = -1
    length: int = 0


def index_shard(url: str, data: bytes) -> Shard:
    """The index of one tar's bytes: samples of one image and one `cls` member each.

    The split is `held_out` where the file's name starts so, else `train`. Raises DataError for a
    tar that is damaged or empty, for names that leave the folder, and for keys that come twice.
    """
    found: dict[str, _Member] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for sample in _samples(url, tar):
                if sample.key in found:
                    raise DataError(
                        f"{url}: two samples have the key {sample.key!r}. {_WRITE_AGAIN}"
                    )
                found[sample.key] = sample
    except (tarfile.TarError, EOFError, OSError) as problem:
        raise DataError(
            f"{url}: damaged tar of {len(data)} bytes after {len(found)} whole samples "
            f"({problem}). Copy or write this shard again."
        ) from problem
    if not found:
        raise DataError(f"{url}: no samples in this tar of {len(data)} bytes. {_WRITE_AGAIN}")
    name = posixpath.basename(url)
    return _to_shard(name, data, tuple(found.values()))


def build_manifest(url: str, *, class_names: Sequence[str], channels: int) -> Manifest:
    """The manifest of all `*.tar` at `url`, in order of their names; it is not written.

    Raises DataError where there is no shard, one is damaged, a key comes twice among all, or a
    label lies outside the classes.
    """
    names = sorted(name for name in storage.list_sizes(url) if name.endswith(".tar"))
    if not names:
        raise DataError(f"{url}: no *.tar files here; expected WebDataset shards.")
    shards, sides = [], set()
    owner: dict[str, str] = {}
    for name in names:
        place = storage.join(url, name)
        data = storage.read_bytes(place)
        shard = index_shard(place, data)
        sides |= {_side(data, shard, row) for row in range(shard.samples)}
        for key in shard.keys:
            if owner.setdefault(key, name) != name:
                raise DataError(
                    f"{url}: key {key!r} is in {owner[key]} and in {name}. {_WRITE_AGAIN}"
                )
        if shard.labels.min() < 0 or shard.labels.max() >= len(class_names):
            raise DataError(
                f"{place}: labels {shard.labels.min()} to {shard.labels.max()}, expected 0 to "
                f"{len(class_names) - 1}. Give the class names of these shards."
            )
        shards.append(shard)
    return Manifest(
        url=url,
        shards=tuple(shards),
        channels=channels,
        class_names=tuple(class_names),
        image_size=sides.pop() if len(sides) == 1 else None,
    )


_WRITE_AGAIN = "Write these shards again with one key for each sample."


def _samples(url: str, tar: tarfile.TarFile) -> Iterator[_Member]:
    """Consecutive members of one key, as webdataset groups them."""
    current: _Member | None = None
    for member in tar:
        if not member.isfile():
            continue
        key, extension = _split_name(url, member.name)
        if current is None or current.key != key:
            if current is not None:
                yield _complete(url, current)
            current = _Member(key)
        if extension in IMAGE_EXTENSIONS:
            current.offset, current.length = member.offset_data, member.size
        elif extension == "cls":
            current.label = _read_label(url, tar, member)
    if current is not None:
        yield _complete(url, current)


def _split_name(url: str, name: str) -> tuple[str, str]:
    match = _NAME.match(name)
    if match is None or name.startswith("/") or ".." in name.split("/"):
        raise DataError(
            f"{url}: member {name!r} is not named `key.extension` with a relative path. "
            f"{_WRITE_AGAIN}"
        )
    return match["key"], match["extension"].lower()


def _read_label(url: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    content = tar.extractfile(member)
    assert content is not None, "a regular member has content"
    text = content.read()
    try:
        return int(text)
    except ValueError as problem:
        raise DataError(
            f"{url}: label of {member.name!r} is {text[:40]!r}, expected a whole number. "
            f"{_WRITE_AGAIN}"
        ) from problem


def _complete(url: str, sample: _Member) -> _Member:
    lacks = [
        what
        for what, absent in [
            (f"image ({', '.join(IMAGE_EXTENSIONS)})", sample.offset < 0),
            ("label (cls)", sample.label is None),
        ]
        if absent
    ]
    if lacks:
        raise DataError(
            f"{url}: sample {sample.key!r} has no {' and no '.join(lacks)}. {_WRITE_AGAIN}"
        )
    return sample


def _to_shard(name: str, data: bytes, samples: tuple[_Member, ...]) -> Shard:
    view = memoryview(data)
    index = ShardIndex(
        keys=tuple(sample.key for sample in samples),
        labels=np.array([sample.label for sample in samples], np.int32),
        offsets=np.array([sample.offset for sample in samples], np.int64),
        lengths=np.array([sample.length for sample in samples], np.int64),
        digests=np.array(
            [xxhash.xxh3_64_intdigest(view[s.offset : s.offset + s.length]) for s in samples],
            np.uint64,
        ),
    )
    split: Split = "held_out" if name.startswith("held_out") else "train"
    return make_shard(name, split, len(data), xxhash.xxh3_128_hexdigest(data), index)


def _side(data: bytes, shard: Shard, row: int) -> int | None:
    """The side of a square image; None for what is not square or not readable."""
    start = int(shard.offsets[row])
    try:
        image = read_appearance(data[start : start + int(shard.lengths[row])])
    except BadSample:
        return None
    return image.width if image.width == image.height else None
