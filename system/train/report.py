"""What updates tell: summed on the device while they run, read once when a report is due."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from system.foundation.world import World
from system.train.guards.stragglers import Stopwatch
from system.train.guards.stragglers import straggler
from system.train.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class StepReport:
    """The means of the updates since the last report, by the names of the metrics' registry."""

    images_seen: int
    values: dict[str, float]


class Reporter(Protocol):
    """Where a run's news goes. Ray's workers have one, a run alone in its process another."""

    def report(self, report: StepReport) -> None:
        """Take note. Called on rank 0."""

    def settle(self) -> None:
        """Return when no checkpoint is on its way to storage. Called on every worker."""

    def checkpoint(
        self, snapshot: Snapshot, folder: Path, images_seen: int, *, evaluate: bool
    ) -> None:
        """Bring a state to storage by way of a local folder, which is removed; maybe beside further
        updates. Called on every worker."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One micro-batch of an update on one worker: its samples, and its values on the device."""

    start: int  # position of the first sample
    keys: tuple[str, ...]
    values: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One update on one worker: its means as tensors on the device, the rest as plain numbers."""

    means: dict[str, Tensor]
    numbers: dict[str, float]  # the same on all workers; the last update's are reported
    gradient_norm: float  # likewise the same, but reported as a mean
    images: int  # of all workers
    data_wait_s: float
    skipped: bool  # by the joint model or by the discriminator; the other may have moved
    passes: tuple[Pass, ...] = ()  # what it was made of on this worker
    forward: Stopwatch | None = None  # over its forward passes on this worker


@dataclass(slots=True, eq=False)
class Window:
    """The updates since the last report. An update that was skipped adds nothing to the means.

    A term that begins within the window has its mean over the updates it took part in.
    """

    world: World
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    _numbers: dict[str, float] = field(default_factory=dict)
    _gradient_norms: float = 0.0
    _moved: int = 0
    _updates: int = 0
    _images: int = 0
    _data_wait_s: float = 0.0
    _forward: list[Stopwatch] = field(default_factory=list)
    _stood_still_s: float = 0.0
    _start: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Take in one update."""
        self._updates += 1
        self._images += outcome.images
        self._data_wait_s += outcome.data_wait_s
        self._forward += [outcome.forward] if outcome.forward else []
        self._numbers = outcome.numbers
        if outcome.skipped:
            return
        self._moved += 1
        self._gradient_norms += outcome.gradient_norm
        self._counts.update(outcome.means.keys())
        for name, mean in outcome.means.items():
            self._sums[name] = self._sums[name] + mean if name in self._sums else mean

    @property
    def images_counted(self) -> int:
        """Images of all workers behind the means."""
        return self._images * self._moved // max(1, self._updates)

    @property
    def spent(self) -> dict[str, float]:
        """Seconds of the updates so far, and of those the wait for data."""
        seconds = time.monotonic() - self._start - self._stood_still_s
        return {"seconds": seconds, "data_wait_s": self._data_wait_s}

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Time within counts as a checkpoint's, not as the updates'."""
        start = time.monotonic()
        yield
        self._stood_still_s += time.monotonic() - start

    def read(self) -> dict[str, float]:
        """The means over updates and workers, and the pace; then start anew.

        All workers must take part.
        """
        elapsed = max(1e-9, time.monotonic() - self._start - self._stood_still_s)
        values = self._means() | self._numbers
        updates = max(1, self._updates)  # none where all were left out
        values |= {
            "throughput/images_per_s": self._images / elapsed,
            "throughput/update_s": elapsed / updates,
            "throughput/data_wait_s": self._data_wait_s / updates,
        }
        own = self._data_wait_s + sum(each.seconds() for each in self._forward)
        values |= straggler(self.world, own / updates)
        if self._stood_still_s:
            values["throughput/checkpoint_s"] = self._stood_still_s
        if self.world.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.world.device)
            values["throughput/peak_memory_bytes"] = float(peak)
        self.__init__(self.world)  # type: ignore[misc]
        return values

    def _means(self) -> dict[str, float]:
        """One collective and one copy to the host for all of them."""
        if not self._sums:
            return {}
        stacked = torch.stack(
            [total.detach().double() / self._counts[name] for name, total in self._sums.items()]
        )
        means = self.world.mean(stacked).tolist()
        norm = {"train/gradient_norm": self._gradient_norms / self._moved}
        return dict(zip(self._sums, means, strict=True)) | norm
