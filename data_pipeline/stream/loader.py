"""The endless stream of micro-batches for one rank, with the cursor to resume it anywhere.

The global batch that starts at position p covers positions p … p+G-1. Rank r of W takes the
contiguous slice [p + r·G/W, p + (r+1)·G/W) and cuts it into micro-batches.
"""

import itertools
from collections.abc import Iterator

import torch

from data_pipeline.decoding.host_batches import HostBatches
from data_pipeline.decoding.host_batches import open_batches
from data_pipeline.features.feature_set import FeatureSet
from data_pipeline.order.exclusion import NOTHING
from data_pipeline.order.exclusion import Exclusion
from data_pipeline.order.selection import choose
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import check_manifest
from data_pipeline.stream.account import Account
from data_pipeline.stream.account import OnBadSample
from data_pipeline.stream.placement import place
from system.foundation.errors import TrainingSystemError
from system.foundation.nouns import Batch
from system.foundation.nouns import Cursor
from system.foundation.settings.data import Data
from system.foundation.world import World


class Stream(Iterator[tuple[Batch, Cursor]]):
    """Endless micro-batches of one rank, and the account of what it met on the way."""

    def __init__(
        self,
        batches: HostBatches,
        cursors: Iterator[Cursor],
        account: Account,
        *,
        samples_per_epoch: int,
        device: torch.device,
    ) -> None:
        self.account = account
        self.samples_per_epoch = samples_per_epoch
        self._batches = batches
        self._placed = place(batches, device)
        self._cursors = cursors

    def __next__(self) -> tuple[Batch, Cursor]:
        """The next micro-batch. Raises DataError past `data.max_bad_fraction`."""
        try:
            placed = next(self._placed)
            self.account.add(placed.host)
        except TrainingSystemError:
            self.close()
            raise
        count = len(placed.label)
        position = torch.arange(placed.host.start, placed.host.start + count)
        key = tuple(itertools.chain.from_iterable(part.keys for part in placed.host.parts))
        batch = Batch(placed.image, placed.label, position, key, placed.features)
        return batch, next(self._cursors)

    @property
    def processes(self) -> list[int]:
        """The identifiers of the decoding processes that live."""
        return self._batches.processes

    def close(self) -> None:
        """End the decoding processes now, not when this stream happens to be collected."""
        self._batches.close()


def open_stream(
    manifest: Manifest,
    data: Data,
    *,
    seed: int,
    world: World,
    global_batch: int,
    micro_batch: int,
    images_seen: int,
    features: FeatureSet | None = None,
    exclusion: Exclusion = NOTHING,
    on_bad_sample: OnBadSample | None = None,
) -> Stream:
    """The endless stream of (Batch, Cursor) of this rank from position `images_seen` on.

    `manifest` is one split (`manifest.split("train")`). Images and labels come on `world.device`,
    positions on the CPU. A cursor names the last position at which a whole global batch was
    complete, so within one it still names the batch's start. `features`, of the same split, come
    with their samples. Global batches that `exclusion` touches never come. `on_bad_sample` hears of
    each bad sample; without it they are logged.

    Raises DataError where the shards are not what the recipe expects, or its selection leaves none.
    """
    check_manifest(manifest, data)
    assert len({shard.split for shard in manifest.shards}) == 1, "a stream reads one split"
    share, rest = divmod(global_batch, world.size)
    assert rest == 0, "a recipe whose batch does not divide over its workers is refused"
    assert share % micro_batch == 0, "so is one whose micro-batch does not divide the share"
    choice = choose(manifest, data.selection, seed)
    own = range(world.rank * share, (world.rank + 1) * share, micro_batch)
    starts = (
        batch + offset for batch in _batches(images_seen, global_batch, exclusion) for offset in own
    )
    start = Cursor(images_seen, seed, manifest.digest)
    return Stream(
        open_batches(manifest, data, seed=seed, starts=starts, rows=micro_batch, features=features),
        _cursors(start, global_batch, len(own), exclusion),
        Account(manifest, data, on_bad_sample),
        samples_per_epoch=manifest.samples if choice is None else choice.samples_per_epoch,
        device=world.device,
    )


def _batches(first: int, global_batch: int, exclusion: Exclusion) -> Iterator[int]:
    """Where the global batches begin that are not left out."""
    for start in itertools.count(first, global_batch):
        if not exclusion.touches(start, start + global_batch):
            yield start


def _cursors(
    start: Cursor, global_batch: int, micro_batches: int, exclusion: Exclusion
) -> Iterator[Cursor]:
    for position in _batches(start.images_seen, global_batch, exclusion):
        for number in range(1, micro_batches + 1):
            done = position + global_batch if number == micro_batches else position
            yield Cursor(done, start.seed, start.manifest_digest)
