"""The endless stream of micro-batches for one rank, with the cursor to resume it anywhere.

The global batch that starts at position p covers positions p … p+G-1. Rank r of W takes the
contiguous slice [p + r·G/W, p + (r+1)·G/W) and cuts it into micro-batches.
"""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from data_pipeline.decoding.host_batches import open_batches
from data_pipeline.features.feature_set import FeatureSet
from data_pipeline.order.exclusion import NOTHING
from data_pipeline.order.exclusion import Exclusion
from data_pipeline.order.selection import choose
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import check_manifest
from data_pipeline.stream.account import Account
from data_pipeline.stream.account import OnBadSample
from system.foundation.cursor import Cursor
from system.foundation.settings.data import Data
from system.foundation.world import World

if TYPE_CHECKING:
    import data_pipeline.stream.stream


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
) -> "data_pipeline.stream.stream.Stream":
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
    batches = open_batches(
        manifest, data, seed=seed, starts=starts, rows=micro_batch, features=features
    )
    # Where nobody has imported torch before, it loads while the decoding processes start.
    from data_pipeline.stream.stream import Stream

    return Stream(
        batches,
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
