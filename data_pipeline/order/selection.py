"""Which samples an epoch holds: a subset, or as many of each class, in place of all of them once.

Balanced epochs take the members of a class in turns: epoch e of a class with n members, of which
q are wanted, holds the members e·q … e·q+q-1 modulo n of one fixed permutation. So none comes twice
before all have come once, and every epoch of a run has the same length.
"""

import numpy as np
import xxhash
from jaxtyping import Int32
from jaxtyping import Int64

from data_pipeline.shards.manifest import Manifest
from system.foundation.errors import DataError
from system.foundation.philox import generator
from system.foundation.settings.data import Selection


class Subset:
    """The same samples in every epoch, given in ascending order."""

    def __init__(self, samples: Int64[np.ndarray, "samples"]) -> None:
        self._samples = samples

    @property
    def samples_per_epoch(self) -> int:
        """How many there are."""
        return len(self._samples)

    def epoch(self, number: int) -> Int64[np.ndarray, "samples"]:
        """All of them."""
        return self._samples


class Balanced:
    """`quota` samples of each class in every epoch."""

    def __init__(
        self,
        samples: Int64[np.ndarray, "samples"],
        labels: Int32[np.ndarray, "samples"],
        quota: int,
        seed: int,
    ) -> None:
        self._quota = quota
        self._members = [
            _permuted(samples[labels == label], seed, int(label)) for label in np.unique(labels)
        ]

    @property
    def samples_per_epoch(self) -> int:
        """The quota times the number of classes."""
        return self._quota * len(self._members)

    def epoch(self, number: int) -> Int64[np.ndarray, "samples"]:
        """Ascending; a sample stands in it as often as the epoch holds it."""
        turns = np.arange(number * self._quota, (number + 1) * self._quota)
        return np.sort(np.concatenate([each[turns % len(each)] for each in self._members]))


Choice = Subset | Balanced


def choose(manifest: Manifest, selection: Selection, seed: int) -> Choice | None:
    """What `data.selection` leaves of a split; None for all of its samples.

    Raises DataError where it leaves nothing, or names a class that the shards do not have.
    """
    if selection == Selection():
        return None
    samples, labels = np.arange(manifest.samples), manifest.labels
    if selection.classes is not None:
        _check_classes(manifest, selection.classes)
        samples = samples[np.isin(labels, np.array(selection.classes))]
    if selection.per_class is not None:
        samples = _first_by_key(manifest, samples, selection.per_class)
    if not len(samples):
        raise DataError(
            f"{manifest.url}: data.selection leaves none of {manifest.samples} samples "
            f"(classes={selection.classes}, per_class={selection.per_class}). Name classes "
            "that it has, or none to have them all."
        )
    if selection.balance == "none":
        return Subset(samples)
    chosen = labels[samples]
    counts = np.unique(chosen, return_counts=True)[1]
    quota = int(counts.min() if selection.balance == "undersample" else counts.max())
    return Balanced(samples, chosen, quota, seed)


def _check_classes(manifest: Manifest, classes: tuple[int, ...]) -> None:
    wrong = [label for label in classes if label >= manifest.classes]
    if wrong:
        raise DataError(
            f"{manifest.url}: data.selection.classes names {wrong[:5]}, expected labels of 0 to "
            f"{manifest.classes - 1}."
        )
    absent = sorted(set(classes) - set(np.unique(manifest.labels).tolist()))
    if absent:
        raise DataError(
            f"{manifest.url}: data.selection.classes names {absent[:5]}, of which there is no "
            "sample in this split. Leave them out."
        )


def _first_by_key(
    manifest: Manifest, samples: Int64[np.ndarray, "samples"], count: int
) -> Int64[np.ndarray, "chosen"]:
    """The `count` samples of each class whose keys hash lowest: the same after packing anew."""
    keys = (key for shard in manifest.shards for key in shard.keys)
    ranks = np.array([xxhash.xxh3_64_intdigest(key.encode()) for key in keys], np.uint64)[samples]
    labels = manifest.labels[samples]
    order = np.lexsort((ranks, labels))
    ordered = labels[order]
    start = np.searchsorted(ordered, ordered, side="left")
    return np.sort(samples[order[np.arange(len(order)) - start < count]])


def _permuted(
    members: Int64[np.ndarray, "members"], seed: int, label: int
) -> Int64[np.ndarray, "members"]:
    words = generator(seed, "order/class", label).bit_generator.random_raw(len(members))
    return members[np.argsort(words, kind="stable")]
