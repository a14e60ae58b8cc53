"""From a sample's number to its pixels: bytes out of shards, verified, decoded, cropped.

Small shards are kept whole in memory; of large ones only the bytes of a sample are read. A sample
whose bytes are not those that were packed is a bad sample, never silently other pixels.
"""

import logging
from collections import Counter
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import xxhash
from jaxtyping import Int
from jaxtyping import UInt8
from torch import Tensor

from data_pipeline.images.crop import to_square
from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import decode
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import Shard
from data_pipeline.shards.manifest import check_manifest
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.data import Data

SHARD_CACHE_BYTES = 64 * 2**20  # of whole shards, per process
PIXEL_CACHE_BYTES = 256 * 2**20  # of decoded sets, per process

_log = logging.getLogger(__name__)


class BadEntry(NamedTuple):
    """A sample that could not be used: its key, why, and where its bytes lie."""

    key: str
    reason: str
    place: str  # url and byte range


class ShardReader:
    """The encoded image of any sample, through a cache of whole small shards."""

    def __init__(self, manifest: Manifest, window_shards: int) -> None:
        self._manifest = manifest
        self._whole_bytes = SHARD_CACHE_BYTES // window_shards  # so that a window fits
        self._kept: OrderedDict[str, tuple[bytes, bool]] = OrderedDict()

    def read(self, sample: int) -> bytes:
        """The bytes of a sample's image. Raises BadSample where they are not those packed."""
        shard, row = self._manifest.locate(sample)
        start, length = int(shard.offsets[row]), int(shard.lengths[row])
        if shard.bytes <= self._whole_bytes:
            content, is_verified = self._whole(shard)
            data = content[start : start + length]
        else:
            with self._expected(shard) as url:
                data = storage.read_range(url, start, length)
            is_verified = False
        if not is_verified and xxhash.xxh3_64_intdigest(data) != int(shard.digests[row]):
            raise BadSample("bytes differ from those packed")
        return data

    def _whole(self, shard: Shard) -> tuple[bytes, bool]:
        """A shard's bytes, and whether its digest holds; if not, each sample is checked alone."""
        if shard.name in self._kept:
            self._kept.move_to_end(shard.name)
            return self._kept[shard.name]
        with self._expected(shard) as url:
            content = storage.read_bytes(url)
        is_verified = xxhash.xxh3_128_hexdigest(content) == shard.digest
        if not is_verified:
            _log.warning("%s differs from its manifest", url)
        held = sum(len(kept) for kept, _ in self._kept.values())
        while self._kept and held + len(content) > SHARD_CACHE_BYTES:
            held -= len(self._kept.popitem(last=False)[1][0])
        self._kept[shard.name] = (content, is_verified)
        return content, is_verified

    @contextmanager
    def _expected(self, shard: Shard) -> Iterator[str]:
        url = storage.join(self._manifest.url, shard.name)
        try:
            yield url
        except FileNotFoundError as problem:
            raise DataError(
                f"{url}: this shard is gone, though it was there when its manifest was opened. "
                "Copy it again from where it was packed, or pack again with the same options."
            ) from problem


class ImageReader:
    """The cropped pixels of any samples; sets that fit in memory are decoded once."""

    def __init__(self, manifest: Manifest, data: Data) -> None:
        self.fallbacks: Counter[str] = Counter()  # images that simplejpeg refused, by its reason
        self._manifest = manifest
        self._reader = ShardReader(manifest, data.window_shards)
        self._data = data
        self._shape = (data.image_channels, data.image_size, data.image_size)
        self._cache: UInt8[np.ndarray, "N C H W"] | None = None
        if manifest.samples * int(np.prod(self._shape)) <= PIXEL_CACHE_BYTES:
            self._cache = np.empty((manifest.samples, *self._shape), np.uint8)
            self._is_cached = np.zeros(manifest.samples, bool)

    def read(self, sample: int) -> UInt8[np.ndarray, "C H W"]:
        """One sample's pixels. Raises BadSample."""
        if self._cache is None:
            return self._decode(sample)
        if not self._is_cached[sample]:
            self._cache[sample] = self._decode(sample)
            self._is_cached[sample] = True
        return self._cache[sample]

    def read_many(
        self, samples: Int[np.ndarray, "B"]
    ) -> tuple[UInt8[np.ndarray, "B C H W"], dict[int, BadEntry]]:
        """The pixels of samples, and which rows are bad: their pixels mean nothing."""
        bad: dict[int, BadEntry] = {}
        if self._cache is not None and self._is_cached[samples].all():
            return self._cache[samples], bad
        images = np.empty((len(samples), *self._shape), np.uint8)
        for row, sample in enumerate(samples.tolist()):
            try:
                images[row] = self.read(sample)
            except BadSample as problem:
                bad[row] = BadEntry(
                    self._manifest.key(sample), str(problem), self._manifest.place(sample)
                )
        return images, bad

    def _decode(self, sample: int) -> UInt8[np.ndarray, "C H W"]:
        decoded = decode(self._reader.read(sample), self._data.image_channels)
        if decoded.fallback is not None:
            self.fallbacks[decoded.fallback] += 1
        square = to_square(decoded.image, self._data.crop, self._data.image_size)  # type: ignore[arg-type]
        return square.transpose(2, 0, 1)


class WholeSplit(NamedTuple):
    """All samples of a split, in the manifest's order."""

    image: UInt8[Tensor, "N C H W"]
    label: Int[Tensor, "N"]
    keys: tuple[str, ...]


def read_split(manifest: Manifest, data: Data) -> WholeSplit:
    """All images of a split that fits in memory, cropped, not mirrored.

    Bad samples are left out and logged. Raises DataError where they are more than
    `data.max_bad_fraction`, or where the shards are not what the recipe expects.
    """
    check_manifest(manifest, data)
    images, bad = ImageReader(manifest, data).read_many(np.arange(manifest.samples))
    for entry in bad.values():
        _log.warning("left out %s (%s): %s", entry.key, entry.place, entry.reason)
    if len(bad) > data.max_bad_fraction * manifest.samples:
        raise too_many_bad(next(iter(bad.values())), len(bad), manifest.samples, data)
    good = np.array([row for row in range(manifest.samples) if row not in bad], np.int64)
    return WholeSplit(
        torch.from_numpy(images[good]),
        torch.from_numpy(manifest.labels[good].astype(np.int64)),
        tuple(manifest.key(row) for row in good.tolist()),
    )


def too_many_bad(example: BadEntry, bad: int, images: int, data: Data) -> DataError:
    """The error that stops a reader: how many were bad, one of them in full, and what to do."""
    return DataError(
        f"{example.place}: {example.key} cannot be used ({example.reason}), and with it {bad} of "
        f"{images} samples read, more than data.max_bad_fraction {data.max_bad_fraction} allows. "
        "Copy the shards again from where they were packed, pack again, or raise "
        "data.max_bad_fraction."
    )
