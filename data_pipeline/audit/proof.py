"""Whether a lineage holds every key once per epoch, and every exception by name.

The order deals each position of an epoch to another sample, so intervals without gap or overlap
mean each sample once, if what was delivered is what the order says. That is shown by digests: the
sum of the hashes of the keys delivered must be that of the keys due. Those of a whole epoch stand
in the ledger; those of any interval follow from the manifest, where it can still be read. What was
left out by name was due as well: the run wrote the digest of the keys that it passed over.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from functools import cached_property
from itertools import pairwise

import numpy as np
import xxhash
from jaxtyping import UInt64

from data_pipeline.audit.lineage import Interval
from data_pipeline.audit.lineage import Lineage
from data_pipeline.audit.lineage import Origin
from data_pipeline.order.order import Order
from data_pipeline.order.selection import choose
from data_pipeline.shards.columns import digest_of
from data_pipeline.shards.manifest import Manifest
from system.foundation.settings.data import Selection

OpenManifest = Callable[[Origin], Manifest | None]  # the split that an origin names, if it is there


@dataclass(slots=True)
class Epoch:
    """One epoch of one order, as far as the run consumed it."""

    number: int
    origin: Origin
    positions: int = 0
    is_shown: bool = False  # by digests that the keys delivered are the keys due

    @property
    def is_whole(self) -> bool:
        """Whether all its positions were consumed."""
        return self.positions == self.origin.samples_per_epoch


@dataclass(slots=True)
class Proof:
    """What was found. It holds where nothing is violated and all is shown."""

    lineage: Lineage
    epochs: list[Epoch] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def unshown(self) -> list[Epoch]:
        """Epochs whose keys nothing vouches for but their positions."""
        return [epoch for epoch in self.epochs if not epoch.is_shown]

    @property
    def holds(self) -> bool:
        """Whether every key was trained on once per epoch, but for the exceptions."""
        return not self.violations and not self.unshown


def prove(lineage: Lineage, open_manifest: OpenManifest) -> Proof:
    """Check every interval of a lineage."""
    proof = Proof(lineage, violations=list(lineage.violations))
    groups = _by_origin(lineage)
    for (before, _), (after, intervals) in pairwise(groups):
        proof.violations += _seam(before, after, intervals[0])
    for origin, intervals in groups:
        manifest = open_manifest(origin)
        due = None if manifest is None else Due(origin, manifest)
        for interval in intervals:
            proof.exceptions += _exceptions(interval, due)
            if due is not None:
                proof.violations += _differences(interval, due)
        proof.epochs += _epochs(origin, intervals, proof.violations, is_shown=due is not None)
    return proof


class Due:
    """The keys that an order deals to positions, out of the manifest."""

    def __init__(self, origin: Origin, manifest: Manifest) -> None:
        choice = choose(manifest, Selection.model_validate(origin.selection), origin.seed)
        counts = [shard.samples for shard in manifest.shards]
        self._order = Order(counts, origin.seed, origin.window_shards, choice)
        self._manifest = manifest

    def digest(self, start: int, stop: int) -> int:
        """The digest of the keys at positions start … stop-1."""
        return int(self._hashes[self._order.samples(start, stop)].sum(dtype=np.uint64))

    def keys(self, start: int, stop: int) -> list[str]:
        """Those keys."""
        return [self._manifest.key(each) for each in self._order.samples(start, stop).tolist()]

    @cached_property
    def _hashes(self) -> UInt64[np.ndarray, "samples"]:
        keys = (key for shard in self._manifest.shards for key in shard.keys)
        return np.array([xxhash.xxh3_64_intdigest(key.encode()) for key in keys], np.uint64)


def _by_origin(lineage: Lineage) -> list[tuple[Origin, list[Interval]]]:
    groups: list[tuple[Origin, list[Interval]]] = []
    for interval in lineage.intervals:
        if not groups or groups[-1][0] != interval.origin:
            groups.append((interval.origin, []))
        groups[-1][1].append(interval)
        groups[-1] = (interval.origin, groups[-1][1])  # where the shards lay last
    return groups


def _seam(before: Origin, after: Origin, first: Interval) -> list[str]:
    """What is wrong where a run goes on with another order: within an epoch, no two orders fit."""
    if not first.start % before.samples_per_epoch and not first.start % after.samples_per_epoch:
        return []
    names = [each.name for each in fields(Origin) if each.compare]
    changed = [name for name in names if getattr(before, name) != getattr(after, name)]
    return [
        f"attempt {first.attempt} goes on from position {first.start:,}, within an epoch, with "
        f"another order ({', '.join(changed)}): some keys of that epoch came twice or never"
    ]


def _parts(interval: Interval) -> list[tuple[int, int, int]]:
    """An interval cut at the edges of epochs: epoch, start, stop."""
    length, parts, start = interval.origin.samples_per_epoch, [], interval.start
    while start < interval.stop:
        stop = min(interval.stop, (start // length + 1) * length)
        parts.append((start // length, start, stop))
        start = stop
    return parts


def _correction(interval: Interval, start: int, stop: int) -> int:
    """What bad samples in start … stop-1 and those in their places do to a digest."""
    bad = [event for event in interval.bad if start <= event["position"] < stop]
    gained = digest_of(event["replaced_by"] for event in bad)
    return gained - digest_of(event["key"] for event in bad)


def _differences(interval: Interval, due: Due) -> list[str]:
    found, what = [], "delivered" if interval.left_out is None else "left out"
    for epoch, start, stop in _parts(interval):
        expected = (due.digest(start, stop) + _correction(interval, start, stop)) % 2**64
        if interval.digests.get(epoch) != expected:
            found.append(
                f"epoch {epoch}, positions {start:,} to {stop:,} (attempt {interval.attempt}): the "
                f"keys {what} are not those that the order deals"
            )
    return found


def _epochs(
    origin: Origin, intervals: list[Interval], violations: list[str], *, is_shown: bool
) -> list[Epoch]:
    """The epochs of one order; whole ones are checked against the digest of all keys."""
    positions: dict[int, int] = defaultdict(int)
    totals: dict[int, int] = defaultdict(int)
    for interval in intervals:
        for number, start, stop in _parts(interval):
            positions[number] += stop - start
            totals[number] += interval.digests.get(number, 0) - _correction(interval, start, stop)
    epochs = []
    for number, count in sorted(positions.items()):
        epoch = Epoch(number, origin, count, is_shown)
        if origin.is_plain and count == origin.samples_per_epoch:
            epoch.is_shown = True
            if totals[number] % 2**64 != origin.keys_digest:
                violations.append(f"epoch {number}: the keys delivered are not all keys once each")
        epochs.append(epoch)
    return epochs


def _exceptions(interval: Interval, due: Due | None) -> list[str]:
    bad = [
        f"epoch {event['position'] // interval.origin.samples_per_epoch}: {event['key']} was left "
        f"out at position {event['position']:,} ({event['reason']}); {event['replaced_by']} stood "
        "in for it and was trained on once more"
        for event in interval.bad
    ]
    if interval.left_out is not None:
        keys = "" if due is None else ": " + ", ".join(due.keys(interval.start, interval.stop))
        bad.append(
            f"positions {interval.start:,} to {interval.stop:,} were left out by name, not lost "
            f"({interval.left_out}){keys}"
        )
    for start, stop in interval.skipped:
        keys = "" if due is None else ": " + ", ".join(due.keys(start, stop))
        bad.append(
            f"positions {start:,} to {stop:,} were consumed, but their update was skipped for "
            f"values that are not finite{keys}"
        )
    return bad
