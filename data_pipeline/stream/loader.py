"""The endless stream of micro-batches for one rank, with the cursor to resume it anywhere.

The global batch that starts at position p covers positions p … p+G-1. Rank r of W takes the
contiguous slice [p + r·G/W, p + (r+1)·G/W) and cuts it into micro-batches. A bad sample's place is
filled by the nearest following good sample of the order, so it too is a function of the position.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset

from data_pipeline.images.crop import mirrored
from data_pipeline.images.decode import BadSample
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import check_manifest
from data_pipeline.stream.order import Order
from data_pipeline.stream.reader import BadEntry
from data_pipeline.stream.reader import ImageReader
from data_pipeline.stream.reader import too_many_bad
from system.foundation.errors import DataError
from system.foundation.errors import TrainingSystemError
from system.foundation.nouns import Batch
from system.foundation.nouns import Cursor
from system.foundation.settings.data import Data
from system.foundation.world import World

_log = logging.getLogger(__name__)


class Assembled(NamedTuple):
    """One micro-batch as a decoding process hands it over: a tuple, so that torch can pin it."""

    image: UInt8[Tensor, "B C H W"]
    label: Int64[Tensor, "B"]
    position: Int64[Tensor, "B"]
    key: tuple[str, ...]
    bad: tuple[BadEntry, ...]
    fallbacks: dict[str, int]


class MicroBatches(Dataset[Assembled | TrainingSystemError]):
    """Micro-batches by (first position, length): a pure function of those and the seed."""

    def __init__(self, manifest: Manifest, data: Data, seed: int) -> None:
        self._manifest = manifest
        self._data = data
        self._seed = seed
        self._order = Order([shard.samples for shard in manifest.shards], seed, data.window_shards)
        self._reader = ImageReader(manifest, data)

    def __getitem__(self, cut: tuple[int, int]) -> Assembled | TrainingSystemError:
        """The micro-batch; an error comes back as a value, since torch would blur its text."""
        try:
            return self._assemble(*cut)
        except TrainingSystemError as problem:
            return problem

    def _assemble(self, start: int, length: int) -> Assembled:
        positions = range(start, start + length)
        samples = self._order.samples(start, start + length)
        images, problems = self._reader.read_many(samples)
        for row in problems:
            samples[row], images[row] = self._replacement(start + row)
        if self._data.flip:
            rows = mirrored(self._seed, positions)
            images[rows] = images[rows, :, :, ::-1]
        fallbacks = dict(self._reader.fallbacks)
        self._reader.fallbacks.clear()
        return Assembled(
            torch.from_numpy(images),
            torch.from_numpy(self._manifest.labels[samples].astype(np.int64)),
            torch.arange(start, start + length),
            tuple(self._manifest.key(sample) for sample in samples.tolist()),
            tuple(problems.values()),
            fallbacks,
        )

    def _replacement(self, position: int) -> tuple[int, UInt8[np.ndarray, "C H W"]]:
        """The nearest good sample that follows in the stream."""
        for later in range(position + 1, position + 1 + self._manifest.samples):
            sample = int(self._order.samples(later, later + 1)[0])
            try:
                return sample, self._reader.read(sample)
            except BadSample:
                continue  # its own position reports it
        raise DataError(
            f"{self._manifest.url}: not one of {self._manifest.samples} samples can be used. "
            "Pack this data again."
        )


class Stream(Iterator[tuple[Batch, Cursor]]):
    """Endless micro-batches of one rank, and the account of what was bad on the way."""

    def __init__(
        self,
        assembled: Iterator[Assembled | TrainingSystemError],
        cursors: Iterator[Cursor],
        account: "Account",
        device: torch.device,
    ) -> None:
        self.account = account
        self._assembled = assembled
        self._cursors = cursors
        self._device = device

    def __next__(self) -> tuple[Batch, Cursor]:
        """The next micro-batch. Raises DataError past `data.max_bad_fraction`."""
        made = next(self._assembled)
        try:
            if isinstance(made, TrainingSystemError):
                raise made
            self.account.add(made)
        except TrainingSystemError:
            self.close()
            raise
        image = made.image.to(self._device, non_blocking=True).float().div_(127.5).sub_(1)
        label = made.label.to(self._device, non_blocking=True)
        return Batch(image, label, made.position, made.key), next(self._cursors)

    def close(self) -> None:
        """Stop the decoding processes now, not when this stream happens to be collected."""
        self._assembled = iter(())


class Account:
    """Counts what a rank met; speaks up for each bad sample, and stops past the bound."""

    def __init__(
        self,
        manifest: Manifest,
        data: Data,
        world: World,
        on_bad_sample: Callable[[str, str], None],
    ) -> None:
        self.images = 0
        self.bad: Counter[str] = Counter()  # by reason
        self.fallbacks: Counter[str] = Counter()  # decoded by Pillow, by simplejpeg's reason
        self._share = manifest.samples / world.size  # of an epoch, so that few early ones may pass
        self._data = data
        self._on_bad_sample = on_bad_sample

    def add(self, made: Assembled) -> None:
        """Take one micro-batch into account. Raises DataError past the bound."""
        self.images += len(made.key)
        self.fallbacks.update(made.fallbacks)
        for entry in made.bad:
            self.bad[entry.reason] += 1
            self._on_bad_sample(entry.key, entry.reason)
            if self.bad.total() > self._data.max_bad_fraction * max(self.images, self._share):
                raise too_many_bad(entry, self.bad.total(), self.images, self._data)


def open_stream(
    manifest: Manifest,
    data: Data,
    *,
    seed: int,
    world: World,
    global_batch: int,
    micro_batch: int,
    images_seen: int,
    on_bad_sample: Callable[[str, str], None] | None = None,
) -> Stream:
    """The endless stream of (Batch, Cursor) of this rank from position `images_seen` on.

    `manifest` is one split (`manifest.split("train")`). Images and labels come on `world.device`,
    positions on the CPU. A cursor names the last position at which a whole global batch was
    complete, so within one it still names the batch's start. `on_bad_sample(key, reason)` hears of
    each bad sample; without it they are logged.

    Raises DataError where the shards are not what the recipe expects.
    """
    check_manifest(manifest, data)
    assert len({shard.split for shard in manifest.shards}) == 1, "a stream reads one split"
    share, rest = divmod(global_batch, world.size)
    assert rest == 0, "a recipe whose batch does not divide over its workers is refused"
    assert share % micro_batch == 0, "so is one whose micro-batch does not divide the share"
    loader: Any = DataLoader(
        MicroBatches(manifest, data, seed),
        batch_size=None,
        sampler=_cuts(images_seen, global_batch, world.rank * share, share, micro_batch),
        num_workers=data.workers,
        prefetch_factor=data.prefetch if data.workers else None,
        collate_fn=_as_it_is,
        pin_memory=world.device.type == "cuda",
        # Forked workers start at once and share the manifest; they watch their parent and die with
        # it. They never touch the GPU.
        multiprocessing_context="fork" if data.workers else None,
        generator=torch.Generator(),  # torch seeds workers from it; nothing here draws from that
    )
    return Stream(
        iter(loader),
        _cursors(Cursor(images_seen, seed, manifest.digest), global_batch, share // micro_batch),
        Account(manifest, data, world, on_bad_sample or _log_bad_sample),
        world.device,
    )


def _cuts(
    images_seen: int, global_batch: int, first: int, share: int, micro_batch: int
) -> Iterator[tuple[int, int]]:
    for start in itertools.count(images_seen + first, global_batch):
        for offset in range(0, share, micro_batch):
            yield start + offset, micro_batch


def _cursors(start: Cursor, global_batch: int, micro_batches: int) -> Iterator[Cursor]:
    for position in itertools.count(start.images_seen, global_batch):
        for number in range(1, micro_batches + 1):
            done = position + global_batch if number == micro_batches else position
            yield Cursor(done, start.seed, start.manifest_digest)


def _as_it_is(made: Any) -> Any:
    return made


def _log_bad_sample(key: str, reason: str) -> None:
    _log.warning("bad sample %s: %s", key, reason)
