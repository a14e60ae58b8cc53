"""A feature set, opened: the arrays of any samples, read as images are, by their numbers.

    plants/rose/7.cls                      the label, as in the images' shard
    plants/rose/7.features.safetensors     moments, moments.mirrored, teacher, ...

The tars have the names, the keys and the order of the images' shards, so a sample has one number
in both. A sample whose image cannot be used has an empty member. Needs no torch.
"""

from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.numpy
from jaxtyping import Bool
from jaxtyping import Int
from safetensors import SafetensorError

from data_pipeline.features.record import MIRRORED
from data_pipeline.features.record import Feature
from data_pipeline.features.record import FeatureRecord
from data_pipeline.features.record import record_of
from data_pipeline.images.decode import BadSample
from data_pipeline.reading.shard_reader import ShardReader
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import Split
from data_pipeline.shards.manifest import open_local
from data_pipeline.shards.manifest import read_manifest
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.data import Data

Arrays = Mapping[str, np.ndarray]  # by a feature's name, a row for each sample


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Some features of one split's samples, in the order of the images' manifest."""

    manifest: Manifest  # of one split
    record: FeatureRecord
    names: tuple[str, ...]  # of the features that are read

    @property
    def features(self) -> dict[str, Feature]:
        """The features that are read, by name."""
        return {name: self.record.features[name] for name in self.names}

    def empty(self, *rows: int) -> dict[str, np.ndarray]:
        """Room for the features of so many rows."""
        return {
            name: np.zeros((*rows, *feature.shape), feature.dtype)
            for name, feature in self.features.items()
        }

    def address(self) -> list[object]:
        """What `open_address` needs, fit for JSON."""
        split = self.manifest.shards[0].split
        return [str(self.manifest.local_file()), self.manifest.url, split, list(self.names)]


def open_features(url: str, split: Split) -> FeatureSet:
    """All features of one split at `url`.

    Raises DataError where no feature set is there, or where it is damaged or unfinished.
    """
    if not storage.exists(storage.join(url, MANIFEST_NAME)):
        raise DataError(
            f"data.features: no {MANIFEST_NAME} at {url}: there is no feature set, or one whose "
            "last shards are missing. `python jobs/precompute_features.py RECIPE.yaml "
            f"data.features={url}` computes what is not there; null does without."
        )
    return _of_split(read_manifest(url), split)


def open_address(file: str, url: str, split: Split, names: list[str]) -> FeatureSet:
    """A feature set as another process has it open; no storage is asked."""
    return replace(_of_split(open_local(Path(file), url), split), names=tuple(names))


def encode(arrays: Arrays) -> bytes:
    """The member of one sample: the same bytes for the same arrays."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(safetensors.numpy.save(whole))


def decode(data: bytes, features: Mapping[str, Feature]) -> dict[str, np.ndarray]:
    """The arrays of a member. Raises BadSample where these features are not in it."""
    if not data:
        raise BadSample("its image could not be used when features were computed")
    try:
        found = safetensors.numpy.load(data)
    except SafetensorError as problem:
        raise BadSample(f"features cannot be read ({problem})") from problem
    for name, feature in features.items():
        there = found.get(name)
        if there is None or there.shape != feature.shape or there.dtype != feature.dtype:
            raise BadSample(f"features without {name} of shape {feature.shape} {feature.dtype}")
    return found


class FeatureReader:
    """Writes the features of any samples into rows. Each process makes its own."""

    def __init__(
        self, features: FeatureSet, data: Data, on_stage: Callable[[str], None] = lambda _: None
    ) -> None:
        self._features = features
        self._shards = ShardReader(features.manifest, data, on_stage)

    def fill(
        self, samples: Int[np.ndarray, "B"], arrays: Arrays, turned: Bool[np.ndarray, "B"]
    ) -> dict[int, str]:
        """Write each sample's features into its row, the mirrored image's where `turned`.

        Returns why rows are bad: what these hold means nothing. Raises DataError for a shard that
        is gone, StorageError where storage does not answer.
        """
        bad: dict[int, str] = {}
        for row, data in enumerate(self._shards.read_many(samples)):
            suffix = MIRRORED if turned[row] else ""
            wanted = {name + suffix: each for name, each in self._features.features.items()}
            try:
                if isinstance(data, BadSample):
                    raise data
                found = decode(data, wanted)
            except BadSample as problem:
                bad[row] = f"of its features: {problem}"
                continue
            for name in self._features.names:
                arrays[name][row] = found[name + suffix]
        return bad

    def place(self, sample: int) -> str:
        """Where the bytes of a sample's features lie, for messages."""
        return self._features.manifest.place(sample)

    def take_counts(self) -> Counter[str]:
        """What reading took since the last call: see `ShardReader.counters`."""
        counted = Counter(self._shards.counters)
        self._shards.counters.clear()
        return counted


def _of_split(manifest: Manifest, split: Split) -> FeatureSet:
    record = record_of(manifest)
    return FeatureSet(manifest.split(split), record, tuple(record.features))
