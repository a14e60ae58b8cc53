"""Micro-batches in host memory, by position: decoded in this process, or by a pool into a ring."""

from collections import deque
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from jaxtyping import UInt8

from data_pipeline.decoding.assembly import NO_FEATURES
from data_pipeline.decoding.assembly import Assembled
from data_pipeline.decoding.assembly import Assembler
from data_pipeline.decoding.decoding_process import Task
from data_pipeline.decoding.pool import Pool
from data_pipeline.decoding.ring import Ring
from data_pipeline.decoding.ring import RingShape
from data_pipeline.features.feature_set import FeatureSet
from data_pipeline.shards.manifest import Manifest
from system.foundation.settings.data import Data

ROWS_PER_TASK = 32


class HostBatch(NamedTuple):
    """A micro-batch. Its arrays belong to whoever made it, and hold until the next is taken."""

    start: int  # position of its first sample in the stream
    image: UInt8[np.ndarray, "B H W C"]
    label: Int64[np.ndarray, "B"]
    parts: tuple[Assembled, ...]  # what is told of its rows, in order
    restarts: dict[str, int]  # of decoding processes since the last one, by cause
    features: Mapping[str, np.ndarray] = NO_FEATURES  # of its rows, by name


class InProcess(Iterator[HostBatch]):
    """Decodes each micro-batch when it is asked for."""

    def __init__(
        self,
        assembler: Assembler,
        data: Data,
        starts: Iterator[int],
        rows: int,
        features: FeatureSet | None = None,
    ) -> None:
        self.processes: list[int] = []
        self._assembler = assembler
        self._starts = starts
        shape = (rows, data.image_size, data.image_size, data.image_channels)
        self._image = np.empty(shape, np.uint8)
        self._label = np.empty(rows, np.int64)
        self._features = NO_FEATURES if features is None else features.empty(rows)

    def __next__(self) -> HostBatch:
        """The next one. Raises DataError, StorageError."""
        start = next(self._starts)
        part = self._assembler.fill(start, self._image, self._label, features=self._features)
        return HostBatch(start, self._image, self._label, (part,), {}, self._features)

    def is_ready(self) -> bool:
        """Never: the next one is decoded when it is asked for."""
        return False

    def close(self) -> None:
        """End the iteration."""
        self._starts = iter(())


@dataclass(slots=True, eq=False)
class _Pending:
    """A micro-batch that is being filled."""

    slot: int
    start: int
    missing: set[int]  # first rows of its tasks
    parts: dict[int, Assembled] = field(default_factory=dict)
    problem: Exception | None = None


class Pooled(Iterator[HostBatch]):
    """Hands out slots of a ring in order, and has the pool fill the free ones."""

    def __init__(self, pool: Pool, ring: Ring, starts: Iterator[int]) -> None:
        self.pool = pool
        self.ring = ring
        self._starts = starts
        self._pending: deque[_Pending] = deque()
        self._by_slot: dict[int, _Pending] = {}
        self._handed_out: int | None = None
        for slot in range(ring.shape.slots):
            self._refill(slot)

    def __next__(self) -> HostBatch:
        """The next one. Raises DataError, StorageError, StalledError."""
        if self._handed_out is not None:
            self._refill(self._handed_out)
            self._handed_out = None
        if not self._pending:
            raise StopIteration
        head = self._pending[0]
        while head.missing:
            self._take(self.pool.collect())
        if head.problem is not None:
            raise head.problem
        self._pending.popleft()
        self._handed_out = head.slot
        restarts = dict(self.pool.restarts)
        self.pool.restarts.clear()
        return HostBatch(
            head.start,
            self.ring.pixels[head.slot],
            self.ring.labels[head.slot],
            tuple(head.parts[row] for row in sorted(head.parts)),
            restarts,
            {name: array[head.slot] for name, array in self.ring.features.items()},
        )

    @property
    def processes(self) -> list[int]:
        """The identifiers of the decoding processes that live."""
        return self.pool.processes

    def is_ready(self) -> bool:
        """Whether the next one is filled."""
        self._take(self.pool.poll())
        return bool(self._pending) and not self._pending[0].missing

    def close(self) -> None:
        """End the processes and the iteration."""
        self.pool.close()
        self.ring.close()
        self._pending.clear()
        self._handed_out = None
        self._starts = iter(())

    def _refill(self, slot: int) -> None:
        start = next(self._starts, None)
        if start is None:
            return
        rows = self.ring.shape.rows
        tasks = [
            Task(slot, row, start + row, min(ROWS_PER_TASK, rows - row), [])
            for row in range(0, rows, ROWS_PER_TASK)
        ]
        pending = _Pending(slot, start, {task.row for task in tasks})
        self._pending.append(pending)
        self._by_slot[slot] = pending
        self.pool.submit(tasks)

    def _take(self, answers: list[tuple[Task, Assembled | Exception]]) -> None:
        for task, answer in answers:
            pending = self._by_slot[task.slot]
            pending.missing.remove(task.row)
            if isinstance(answer, Exception):
                pending.problem = pending.problem or answer
            else:
                pending.parts[task.row] = answer


HostBatches = InProcess | Pooled


def open_batches(
    manifest: Manifest,
    data: Data,
    *,
    seed: int,
    starts: Iterator[int],
    rows: int,
    features: FeatureSet | None = None,
) -> HostBatches:
    """Micro-batches of `rows` consecutive positions from each of `starts` on, in their order.

    `manifest` is of one split, and so are the features that are read with its
    images. With `data.workers` at 0 they are decoded when asked for.
    """
    if data.workers == 0:
        assembler = Assembler(manifest, data, seed, features=features)
        return InProcess(assembler, data, starts, rows, features)
    shape = RingShape(
        slots=1 + data.workers * data.prefetch,
        rows=rows,
        size=data.image_size,
        channels=data.image_channels,
        processes=data.workers,
        features=[
            (name, feature.shape, feature.dtype)
            for name, feature in ({} if features is None else features.features).items()
        ],
    )
    ring = Ring(shape)
    return Pooled(Pool(manifest, data, seed, ring, features), ring, starts)
