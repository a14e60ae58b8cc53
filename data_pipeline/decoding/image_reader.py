"""From a sample's number to its pixels: bytes out of shards, verified, decoded, cropped.

A sample whose bytes are not those that were packed is a bad sample, never silently other pixels.
Needs no torch: decoding processes run it.
"""

from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from jaxtyping import Int
from jaxtyping import UInt8

from data_pipeline.images.crop import to_square_into
from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import decode
from data_pipeline.reading.shard_reader import ShardReader
from data_pipeline.shards.manifest import Manifest
from system.foundation.errors import DataError
from system.foundation.philox import generator
from system.foundation.settings.data import Data

PIXEL_CACHE_BYTES = 256 * 2**20  # of decoded sets, per process
NOWHERE = -1

OnStage = Callable[[int, str], None]  # the position being decoded, or NOWHERE, and what is done


class BadEntry(NamedTuple):
    """A sample that could not be used: its key, why, and where its bytes lie."""

    key: str
    reason: str
    place: str  # url and byte range
    position: int  # of the stream where it was to stand
    replaced_by: str = ""  # the key of the sample that stands there now


class ImageReader:
    """The cropped pixels of any samples; sets that fit in memory are decoded once.

    `seed` is that of the random crops, which belong to a position of the stream.
    """

    def __init__(
        self,
        manifest: Manifest,
        data: Data,
        seed: int = 0,
        on_stage: OnStage = lambda position, text: None,
    ) -> None:
        self._manifest = manifest
        self._data = data
        self._seed = seed
        self._on_stage = on_stage
        self._shards = ShardReader(manifest, data, lambda text: on_stage(NOWHERE, text))
        self._fallbacks: Counter[str] = Counter()
        self._shape = (data.image_size, data.image_size, data.image_channels)
        self._cache: UInt8[np.ndarray, "N H W C"] | None = None
        fits = manifest.samples * int(np.prod(self._shape)) <= PIXEL_CACHE_BYTES
        if fits and data.crop != "random_resized":
            self._cache = np.empty((manifest.samples, *self._shape), np.uint8)
            self._is_cached = np.zeros(manifest.samples, bool)

    def read_many(
        self, samples: Int[np.ndarray, "B"]
    ) -> tuple[UInt8[np.ndarray, "B H W C"], dict[int, BadEntry]]:
        """The pixels of samples, unmirrored, and which rows are bad: their pixels mean nothing."""
        pixels = np.empty((len(samples), *self._shape), np.uint8)
        return pixels, self.fill(samples, pixels, positions=samples.tolist())

    def fill(
        self,
        samples: Int[np.ndarray, "B"],
        pixels: UInt8[np.ndarray, "B H W C"],
        *,
        positions: Sequence[int],
        turned: Bool[np.ndarray, "B"] | None = None,
    ) -> dict[int, BadEntry]:
        """Decode samples into rows of pixels, mirrored where `turned`; the rows that are bad.

        Raises DataError for a shard that is gone, StorageError where storage does not answer.
        """
        turned = np.zeros(len(samples), bool) if turned is None else turned
        if self._cache is not None:
            return self._fill_from_cache(samples, pixels, positions, turned)
        return self._decode(samples, pixels, positions, turned)

    def entry(self, sample: int, reason: str, position: int) -> BadEntry:
        """The account of a sample that cannot be used."""
        key, place = self._manifest.key(sample), self._manifest.place(sample)
        return BadEntry(key, reason, place, position)

    def take_counts(self) -> dict[str, int]:
        """What was counted since the last call: by decoder's refusal, and by kind of request."""
        counted = self._fallbacks + self._shards.counters
        self._fallbacks.clear()
        self._shards.counters.clear()
        return dict(counted)

    def _fill_from_cache(
        self,
        samples: Int[np.ndarray, "B"],
        pixels: UInt8[np.ndarray, "B H W C"],
        positions: Sequence[int],
        turned: Bool[np.ndarray, "B"],
    ) -> dict[int, BadEntry]:
        assert self._cache is not None
        bad: dict[int, BadEntry] = {}
        rows = np.flatnonzero(~self._is_cached[samples])
        if len(rows):
            fresh = np.empty((len(rows), *self._shape), np.uint8)
            at = [positions[row] for row in rows.tolist()]
            found = self._decode(samples[rows], fresh, at, np.zeros(len(rows), bool))
            bad = {int(rows[index]): entry for index, entry in found.items()}
            self._cache[samples[rows]] = fresh
            self._is_cached[np.delete(samples, list(bad))] = True
        pixels[:] = self._cache[samples]
        pixels[turned] = pixels[turned, :, ::-1]
        return bad

    def _decode(
        self,
        samples: Int[np.ndarray, "B"],
        pixels: UInt8[np.ndarray, "B H W C"],
        positions: Sequence[int],
        turned: Bool[np.ndarray, "B"],
    ) -> dict[int, BadEntry]:
        bad: dict[int, BadEntry] = {}
        for row, encoded in enumerate(self._shards.read_many(samples)):
            self._on_stage(positions[row], "decoding")
            try:
                self._write(pixels[row], encoded, positions[row], bool(turned[row]))
            except BadSample as problem:
                bad[row] = self.entry(int(samples[row]), str(problem), positions[row])
        return bad

    def _write(
        self,
        target: UInt8[np.ndarray, "H W C"],
        encoded: bytes | BadSample,
        position: int,
        is_mirrored: bool,
    ) -> None:
        if isinstance(encoded, BadSample):
            raise encoded
        decoded = decode(encoded, self._data.image_channels)
        if decoded.fallback is not None:
            self._fallbacks[decoded.fallback] += 1
        draws = None
        if self._data.crop == "random_resized":
            draws = generator(self._seed, "augment/crop", position)
        to_square_into(target, decoded.image, self._data.crop, draws, is_mirrored)


def too_many_bad(example: BadEntry, bad: int, images: int, data: Data) -> DataError:
    """The error that stops a reader: how many were bad, one of them in full, and what to do."""
    return DataError(
        f"{example.place}: {example.key} cannot be used ({example.reason}), and with it {bad} of "
        f"{images} samples read, more than data.max_bad_fraction {data.max_bad_fraction} allows. "
        f"{mending(data)}"
    )


def mending(data: Data) -> str:
    """What to do about too many bad samples: packing again passes over shards of the right size."""
    return (
        "Copy the shards again from where they were packed, or remove the damaged shards (`python "
        f"jobs/verify_shards.py {data.shards}` names them) and pack again, or raise "
        "data.max_bad_fraction."
    )
