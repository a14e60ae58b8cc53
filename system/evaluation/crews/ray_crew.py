"""Units of work by the workers of a Ray cluster, each of which may die at any time.

    with any_ray(cpus=2):
        features_of(request, folder, RayCrew(workers=2))

Workers are actors: each opens source and detectors once, and is lent one unit at a time, for so
long. Where a worker dies, or has not answered when its time is up, it is replaced and its unit is
lent again; a unit that several workers in a row do not bring back ends the work with one error. The
actors live no longer than the program or task that asked for them.

It works in a program that is connected to a Ray, and inside a task of one (as evaluation beside
training does). The actors' resources come on top of the task's own, which it keeps meanwhile: where
the cluster has no room for a single actor, nobody would ever let go. So after `patience_s` without
any worker the caller computes the units itself, one by one, and looks for workers after each.
"""

import logging
import os
import time
from collections import Counter
from collections import deque
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from ray.exceptions import RayTaskError

from system.evaluation.crews.crew import Crew
from system.evaluation.crews.crew import Worker
from system.evaluation.crews.crew import tell_nobody
from system.evaluation.crews.crew import watch_over
from system.evaluation.crews.request import FeatureRequest
from system.evaluation.crews.store import Kept
from system.evaluation.crews.store import UnitStore
from system.foundation import storage
from system.foundation.errors import ClusterError
from system.foundation.errors import TrainingSystemError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCrew(Crew):
    """So many actors on the Ray that this process is connected to, and what each of them needs."""

    workers: int
    cpus: float = 1.0
    gpus: float = 0.0
    labels: Mapping[str, str] | None = None  # of the nodes they may be on
    lease_s: float = 1800.0  # for one unit; for its worker's first one also to open all it needs
    patience_s: float = 60.0  # without any worker, until the caller does the work
    tries: int = 4  # of one unit
    told: Callable[[int], None] = tell_nobody  # how many images a finished unit has

    def run(self, request: FeatureRequest, units: Sequence[range], store: UnitStore) -> None:
        """Compute these units into the store.

        Raises the TrainingSystemError that a unit raises (a StorageError once it did so `tries`
        times), and ClusterError where workers die over one unit again and again, or where there is
        none and the caller cannot take its place.
        """
        assert ray.is_initialized(), "this process is connected to no Ray"
        if request.device == "cuda" and self.gpus == 0:
            raise ClusterError(
                "workers shall compute with device=cuda and are given no GPU; expected a share of "
                "one for each, or device=cpu"
            )
        shift = _Shift(self, request, units, store)
        try:
            shift.work()
        finally:
            shift.dismiss()


class _Hand:
    """A worker in a process of its own."""

    def __init__(self, request: FeatureRequest, store: UnitStore) -> None:
        self.request = request
        self.store = store
        self.worker: Worker | None = None

    def arrive(self) -> int:
        """Say that it is there: the number of its process."""
        return os.getpid()

    def work(self, unit: range) -> Kept:
        """Compute one unit and keep it. What cannot be opened is told by the first one."""
        if self.worker is None:
            self.worker = Worker(self.request)
        return self.worker.work(unit, self.store)


@dataclass(frozen=True, slots=True)
class _Lease:
    """A unit that a worker has, and until when it may have it."""

    unit: range
    hand: Any
    until: float


class _Shift:
    """The state of one run: which units wait, who is coming, who has what."""

    def __init__(
        self, crew: RayCrew, request: FeatureRequest, units: Sequence[range], store: UnitStore
    ) -> None:
        self.crew, self.request, self.store = crew, request, store
        self.waiting = deque(units)
        self.tries: Counter[range] = Counter()
        self.never_arrived = 0  # how many in a row
        self.coming: dict[Any, Any] = {}  # actors by the answer that they are there
        self.leases: dict[Any, _Lease] = {}
        self.idle: list[Any] = []
        self.alone_since = time.monotonic()
        self.here: Worker | None = None

    def work(self) -> None:
        """Until every unit is kept."""
        while self.waiting or self.leases:
            self._hire()
            self._lend()
            asked = [*self.coming, *self.leases]
            ready, _ = ray.wait(
                asked, num_returns=1, timeout=max(self._next() - time.monotonic(), 0)
            )
            for answer in ready:
                if answer in self.coming:
                    self._arrived(answer)
                else:
                    self._returned(answer)
            self._take_back()
            if self.leases or self.idle:
                self.alone_since = time.monotonic()
            elif time.monotonic() >= self.alone_since + self.crew.patience_s:
                self._work_here()

    def dismiss(self) -> None:
        """End all actors."""
        for hand in [
            *self.coming.values(), *self.idle, *(lease.hand for lease in self.leases.values())
        ]:  # fmt: skip
            ray.kill(hand)

    def _hire(self) -> None:
        """As many workers as there are units for."""
        wanted = min(self.crew.workers, len(self.waiting) + len(self.leases))
        crew = self.crew
        options = {"num_cpus": crew.cpus, "num_gpus": crew.gpus, "scheduling_strategy": "SPREAD"}
        if crew.labels:
            options |= {"label_selector": dict(crew.labels), "scheduling_strategy": "DEFAULT"}
        for _ in range(wanted - len(self.coming) - len(self.idle) - len(self.leases)):
            hand = ray.remote(_Hand).options(**options).remote(self.request, self.store)
            self.coming[hand.arrive.remote()] = hand

    def _lend(self) -> None:
        while self.idle and self.waiting:
            hand, unit = self.idle.pop(), self.waiting.popleft()
            until = time.monotonic() + self.crew.lease_s
            self.leases[hand.work.remote(unit)] = _Lease(unit, hand, until)

    def _next(self) -> float:
        """When to look again though nobody has answered."""
        if self.leases:
            return min(lease.until for lease in self.leases.values())
        return self.alone_since + self.crew.patience_s

    def _arrived(self, answer: Any) -> None:
        hand = self.coming.pop(answer)
        try:
            ray.get(answer)
        except RayError as error:
            self.never_arrived += 1
            if self.never_arrived >= self.crew.tries * self.crew.workers:
                raise ClusterError(
                    f"{self.never_arrived} workers in a row ended before they began "
                    f"({type(error).__name__}: {error}). Do the machines have this tree on their "
                    "PYTHONPATH, its packages, and memory for one more process?"
                ) from error
            return
        self.never_arrived = 0
        self.idle.append(hand)

    def _returned(self, answer: Any) -> None:
        lease = self.leases.pop(answer)
        try:
            kept = ray.get(answer)
        except RayTaskError as error:
            self.idle.append(lease.hand)
            if not isinstance(error.cause, TrainingSystemError):
                raise
            if not error.cause.retryable:
                raise error.cause from None
            self._lend_again(lease.unit, error.cause)
        except RayError as error:
            ray.kill(lease.hand)
            self._lend_again(lease.unit, _lost(lease.unit, f"{type(error).__name__}: {error}"))
        else:
            self.idle.append(lease.hand)
            if kept == "written":
                self._check_visible(lease.unit)
            self._kept(kept, lease.unit)

    def _take_back(self) -> None:
        """What is overdue: a worker that has hung may hang for ever."""
        now = time.monotonic()
        for answer, lease in [*self.leases.items()]:
            if lease.until <= now:
                del self.leases[answer]
                ray.kill(lease.hand)
                silent = f"no answer in {self.crew.lease_s:g} s"
                self._lend_again(lease.unit, _lost(lease.unit, silent))

    def _lend_again(self, unit: range, reason: TrainingSystemError) -> None:
        """Raises `reason` once there have been too many."""
        self.tries[unit] += 1
        if self.tries[unit] >= self.crew.tries:
            raise reason
        log.warning("try %d: %s", self.tries[unit], reason)
        if self.store.get(unit) is None:
            self.waiting.appendleft(unit)
        else:  # only the answer was lost
            self._kept("same", unit)

    def _work_here(self) -> None:
        """One unit by the caller, for want of workers."""
        crew = self.crew
        needed = f"{crew.cpus:g} CPUs, {crew.gpus:g} GPUs and labels {dict(crew.labels or {})}"
        if self.request.device == "cuda" and not torch.cuda.is_available():
            raise ClusterError(
                f"no worker with {needed} could be placed in {crew.patience_s:g} s, and this "
                "process has no GPU to take its place. Free some, ask for less, or wait longer"
            )
        if self.here is None:
            log.warning(
                "no worker with %s could be placed in %g s: this process computes the units itself "
                "until there is one",
                needed,
                crew.patience_s,
            )
            self.here = Worker(self.request)
        unit = self.waiting.popleft()
        self._kept(self.here.work(unit, self.store), unit)

    def _kept(self, kept: Kept, unit: range) -> None:
        watch_over(kept, unit, self.store)
        self.crew.told(len(unit))

    def _check_visible(self, unit: range) -> None:
        """A path is no place for what several machines write, unless they share its disk."""
        if not storage.exists(self.store.place(unit)):
            raise ClusterError(
                f"a worker has written {self.store.place(unit)}, and it is not there: the worker "
                "has a disk of its own. Give a place that all machines share: a bucket, a network "
                "disk"
            )


def _lost(unit: range, what: str) -> ClusterError:
    return ClusterError(
        f"images {unit.start} to {unit.stop - 1}: lost with their worker ({what}). Where it "
        "happens again and again, give workers more memory or a smaller batch. Finished units are "
        "kept: the same command goes on there"
    )
