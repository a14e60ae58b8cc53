"""Rows of the stream by position: a pure function of the manifest, the settings and the seed.

A bad sample's place is filled by the nearest good sample that follows in the order, so that too is
a function of the position. Needs no torch: decoding processes run it.
"""

from collections import Counter
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from jaxtyping import UInt8

from data_pipeline.decoding.image_reader import NOWHERE
from data_pipeline.decoding.image_reader import BadEntry
from data_pipeline.decoding.image_reader import ImageReader
from data_pipeline.decoding.image_reader import OnStage
from data_pipeline.features.feature_set import FeatureReader
from data_pipeline.features.feature_set import FeatureSet
from data_pipeline.images.crop import mirrored
from data_pipeline.order.order import Order
from data_pipeline.order.selection import choose
from data_pipeline.shards.columns import digest_of
from data_pipeline.shards.manifest import Manifest
from system.foundation.errors import DataError
from system.foundation.settings.data import Data

POISON = "its decoding process died over it twice"
NO_FEATURES: Mapping[str, np.ndarray] = MappingProxyType({})


class Assembled(NamedTuple):
    """What is told of rows beside their pixels and labels."""

    keys: list[str]
    digests: list[tuple[int, int]]  # of the keys, by epoch: see digest_of
    bad: list[BadEntry]
    counted: dict[str, int]  # by decoder's refusal, and by kind of request


class _Rows(NamedTuple):
    """Where samples go, a row for each."""

    pixels: UInt8[np.ndarray, "B H W C"]
    features: Mapping[str, np.ndarray]

    def part(self, rows: slice) -> "_Rows":
        return _Rows(self.pixels[rows], {name: a[rows] for name, a in self.features.items()})


class Assembler:
    """Fills rows for consecutive positions of one split: with images, and with features of them
    where there is a set."""

    def __init__(
        self,
        manifest: Manifest,
        data: Data,
        seed: int,
        on_stage: OnStage = lambda position, text: None,
        features: FeatureSet | None = None,
    ) -> None:
        choice = choose(manifest, data.selection, seed)
        counts = [shard.samples for shard in manifest.shards]
        self.order = Order(counts, seed, data.window_shards, choice)
        self._manifest = manifest
        self._flips = data.flip
        self._seed = seed
        self._features = None
        if features is not None:
            self._features = FeatureReader(features, data, lambda text: on_stage(NOWHERE, text))
        self._on_stage = on_stage
        self._stands_in: int | None = None  # the position whose sample is tried for a bad one
        self._reader = ImageReader(manifest, data, seed, self._say)

    def fill(
        self,
        start: int,
        pixels: UInt8[np.ndarray, "B H W C"],
        labels: Int64[np.ndarray, "B"],
        poison: Collection[int] = (),
        features: Mapping[str, np.ndarray] = NO_FEATURES,
    ) -> Assembled:
        """Decode the samples at the positions from `start` on into `pixels` and `labels`, and read
        their features into `features`.

        Positions in `poison` end the process that decodes them; they count as bad. Raises DataError
        where no good sample is left, or a shard is gone; StorageError where storage is silent.
        """
        positions = range(start, start + len(pixels))
        samples = self.order.samples(start, start + len(pixels))
        turned = mirrored(self._seed, positions) if self._flips else np.zeros(len(pixels), bool)
        rows = _Rows(pixels, features)
        bad = self._fill(samples, rows, positions, turned, poison)
        for row, entry in bad.items():
            one = slice(row, row + 1)
            samples[row] = self._replace(positions[row], rows.part(one), turned[one], poison)
            bad[row] = entry._replace(replaced_by=self._manifest.key(int(samples[row])))
        self._on_stage(NOWHERE, "waiting for work")
        places = [self._manifest.locate(sample) for sample in samples.tolist()]
        labels[:] = [shard.labels[row] for shard, row in places]
        keys = [shard.index.keys[row] for shard, row in places]
        digests = self._digests(start, keys)
        return Assembled(keys, digests, list(bad.values()), self._take_counts())

    def _digests(self, start: int, keys: list[str]) -> list[tuple[int, int]]:
        """The digest of the keys of each epoch that the positions from `start` on touch."""
        length, first, digests = self.order.samples_per_epoch, 0, []
        while first < len(keys):
            epoch, within = divmod(start + first, length)
            digests.append((epoch, digest_of(keys[first : first + length - within])))
            first += length - within
        return digests

    def _take_counts(self) -> dict[str, int]:
        counted = Counter(self._reader.take_counts())
        if self._features is not None:
            counted += self._features.take_counts()
        return dict(counted)

    def _fill(
        self,
        samples: Int64[np.ndarray, "B"],
        rows: _Rows,
        positions: range,
        turned: np.ndarray,
        poison: Collection[int],
    ) -> dict[int, BadEntry]:
        """As `_read`, around the poisonous rows; the rows that are bad, in order."""
        poisonous = [row for row, position in enumerate(positions) if position in poison]
        bad = {
            row: self._reader.entry(int(samples[row]), POISON, positions[row]) for row in poisonous
        }
        first = 0
        for stop in [*poisonous, len(samples)]:
            part = slice(first, stop)
            found = self._read(samples[part], rows.part(part), positions[part], turned[part])
            bad |= {first + row: entry for row, entry in found.items()}
            first = stop + 1
        return dict(sorted(bad.items()))

    def _read(
        self,
        samples: Int64[np.ndarray, "B"],
        rows: _Rows,
        positions: Sequence[int],
        turned: np.ndarray,
    ) -> dict[int, BadEntry]:
        """Images and features into rows; those that are bad, for want of either."""
        bad = self._reader.fill(samples, rows.pixels, positions=positions, turned=turned)
        if self._features is not None:
            for row, reason in self._features.fill(samples, rows.features, turned).items():
                sample = int(samples[row])
                entry = self._reader.entry(sample, reason, positions[row])
                bad.setdefault(row, entry._replace(place=self._features.place(sample)))
        return bad

    def _replace(
        self, position: int, row: _Rows, turned: np.ndarray, poison: Collection[int]
    ) -> int:
        """Decode the nearest good sample that follows a position into one row; its number."""
        for later in range(position + 1, position + 1 + self.order.samples_per_epoch):
            if later in poison:
                continue
            sample, self._stands_in = self.order.samples(later, later + 1), later
            found = self._read(sample, row, [position], turned)
            self._stands_in = None
            if not found:
                return int(sample[0])  # a bad one on the way is reported by its own position
        raise DataError(
            f"{self._manifest.url}: not one of {self.order.samples_per_epoch} samples can be used. "
            "Pack this data again."
        )

    def _say(self, position: int, text: str) -> None:
        """Name the position of the sample at hand, though it is tried for another's place."""
        instead = position != NOWHERE and self._stands_in is not None
        self._on_stage(self._stands_in if instead else position, text)  # type: ignore[arg-type]
