"""Which event of a ledger puts a stretch of a run's time on which account.

A walk over the events in order of time: each one that marks the run's course ends a stretch, which
begins where the one before ended. So nothing is counted twice or left out, whatever is torn,
missing, out of order, or told by a clock that was set back; the worst that happens is that a
stretch falls to the account of its neighbour.

* A **report** ends a stretch of training: what the loop stood still for checkpoints and
  evaluations and waited for data is what it says, the rest was updates. Images up to the furthest
  that was ever reported were seen before: their share of the updates is replayed.
* What an attempt did after its last sign of life nobody knows: with noticing, and with everything
  up to the start of the next process, it is **detection**. What comes to light again through later
  images is productive then, so no image is counted twice.
* A start ends with the first update, which counts with it: it compiles, allocates, fills queues.
"""

import math
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Literal
from typing import get_args

from system.telemetry.ledger import Event

Cause = Literal[
    "productive",
    "replayed",
    "checkpoint",
    "data_wait",
    "evaluation",
    "start_up",
    "detection",
    "idle",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)
MICRO = 1_000_000

Phase = Literal["none", "launching", "starting", "training", "lost", "waiting", "over"]
# Written by workers, so of one attempt; what an attempt says that a later one followed is stale.
_OF_WORKERS = (
    "attempt_started",
    "resumed",
    "stream_opened",
    "first_update",
    "report",
    "consumed",
    "skipped_update",
    "attempt_finished",
)
_EVALUATIONS = ("evaluation", "evaluation_failed", "evaluation_dropped")
_MARKS = (*_OF_WORKERS, *_EVALUATIONS, "driver_started", "worker_failed", "run_finished")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Time between two marks, in microseconds since 1970, and what it was spent on."""

    start: int
    stop: int
    attempt: int  # 0: before any, or between the lives of drivers
    parts: Mapping[Cause, int]  # they sum to stop - start


def is_mark(event: Event) -> bool:
    """Whether an event has a part in the account."""
    time = event.get("time")
    if event.get("kind") not in _MARKS or not isinstance(time, int | float):
        return False
    is_of_attempt = isinstance(event.get("attempt"), int) or event["kind"] not in _OF_WORKERS
    return is_of_attempt and math.isfinite(time) and abs(time) < 1e11


def attribute(events: Iterable[Event]) -> list[Stretch]:
    """A run's time as stretches without gap or overlap, in order."""
    marks = sorted((event for event in events if is_mark(event)), key=lambda event: event["time"])
    walk = Walk(_furthest(marks))
    for event in marks:
        walk.take(event)
    return walk.stretches


def _furthest(marks: Iterable[Event]) -> dict[int, int]:
    """The furthest image that each attempt told to have trained on."""
    found: dict[int, int] = {}
    for event in marks:
        note_furthest(found, event)
    return found


def note_furthest(found: dict[int, int], event: Event) -> None:
    """Take in what an event tells of the furthest image of its attempt."""
    if event["kind"] in ("first_update", "report", "consumed"):
        found[event["attempt"]] = max(found.get(event["attempt"], 0), _images(event))


@dataclass(slots=True, eq=False)
class Walk:
    """Where the walk has come to: what is known of the run at `at`.

    `furthest_of` may go on growing, as long as it has an attempt's images when the next begins.
    """

    furthest_of: Mapping[int, int]
    stretches: list[Stretch] = field(default_factory=list)
    at: int | None = None
    phase: Phase = "none"
    attempt: int = 0
    images: int = 0  # where the loop stood at the last report
    furthest: int = 0  # images that were seen before
    first: tuple[float, float] = (0.0, 0.0)  # seconds and data wait told already of this window
    evaluated: float = 0.0  # seconds that the loop itself evaluated since the last report
    pending: tuple[int, int] | None = None  # time and images of a sign of life since then

    def take(self, event: Event) -> None:
        """Take in the next event in order of time."""
        kind, time = event["kind"], round(event["time"] * MICRO)
        if self.at is None:
            self.at = min(time, _process_start(event, time))
        if kind in _OF_WORKERS and kind != "attempt_started":
            if event["attempt"] < self.attempt:
                return
            if event["attempt"] > self.attempt:  # its start is missing
                self._begin(event["attempt"], time, time)
        getattr(self, f"_{kind}", self._evaluation_ended)(event, time)

    def _driver_started(self, event: Event, time: int) -> None:
        self._lose()
        self.phase = "launching"
        self._spend(_process_start(event, time), "idle", attempt=0)
        self._spend(time, "start_up", attempt=0)

    def _attempt_started(self, event: Event, time: int) -> None:
        if event["attempt"] >= self.attempt:
            self._begin(event["attempt"], _process_start(event, time), time)

    def _begin(self, attempt: int, process_start: int, time: int) -> None:
        """Another attempt: what lies between the one before and its process is detection."""
        self._lose()
        if self.phase in ("none", "launching"):
            self._spend(time, "start_up", attempt=attempt)
        elif self.phase == "over":
            self._spend(process_start, "idle", attempt=0)
        else:
            self._spend(process_start, "detection")
        self._spend(time, "start_up", attempt=attempt)
        earlier = (seen for number, seen in self.furthest_of.items() if number < attempt)
        self.furthest = max(self.furthest, max(earlier, default=0))
        self.attempt, self.phase, self.images = attempt, "starting", 0
        self.first, self.evaluated, self.pending = (0.0, 0.0), 0.0, None

    def _resumed(self, event: Event, time: int) -> None:
        self.images = _images(event)
        if self.phase == "starting":
            self._spend(time, "start_up")

    _stream_opened = _resumed  # while training: the loop has gone back to an earlier checkpoint

    def _first_update(self, event: Event, time: int) -> None:
        if self.phase != "starting":
            return
        self._spend(time, "start_up")
        self.phase, self.images = "training", _images(event)
        self.first = _number(event, "seconds"), _number(event, "data_wait_s")
        self.furthest = max(self.furthest, self.images)

    def _report(self, event: Event, time: int) -> None:
        images = _images(event)
        if self.phase == "training" and images <= self.images:
            if images == self.images:  # of the first update alone
                self.first = 0.0, 0.0
            return  # or told out of order: the next in order covers its time
        told = event.get("values")
        self._train(time, images, told if isinstance(told, Mapping) else {})
        self.phase, self.first, self.evaluated, self.pending = "training", (0.0, 0.0), 0.0, None

    def _consumed(self, event: Event, time: int) -> None:
        if self.phase == "training" and _images(event) > self.images:
            self.pending = time, _images(event)

    _skipped_update = _consumed

    def _worker_failed(self, event: Event, time: int) -> None:
        if self.phase in ("starting", "training", "lost"):
            self._lose()
            self._spend(time, "detection")
            self.phase = "lost"

    def _attempt_finished(self, event: Event, time: int) -> None:
        if event.get("outcome") == "finished":
            self._lose()
            self._spend(time, "checkpoint" if self.phase == "training" else "start_up")
            self.phase = "waiting"
        else:
            self._worker_failed(event, time)

    def _evaluation_ended(self, event: Event, time: int) -> None:
        self.evaluated += _number(event, "waited_s")
        if self.phase == "waiting":
            self._spend(time, "evaluation")

    def _run_finished(self, event: Event, time: int) -> None:
        self._lose()
        if self.phase == "training":  # a run alone in its process: the last save, and looking at it
            waited = min(round(self.evaluated * MICRO), self._left(time))
            self._put(time, {"evaluation": waited, "checkpoint": self._left(time) - waited})
        self._spend(time, "evaluation" if self.phase == "waiting" else "start_up")
        self.phase, self.evaluated = "over", 0.0

    def _lose(self) -> None:
        """What the attempt is known to have done since its last report."""
        if self.pending is not None:
            self._train(*self.pending, {})
            self.pending = None

    def _train(self, time: int, images: int, told: Mapping[str, Any]) -> None:
        """Divide the stretch that a report ends, by what it tells."""
        length = self._left(time)
        stood = min(round(_number(told, "throughput/checkpoint_s") * MICRO), length)
        evaluated = min(round(self.evaluated * MICRO), stood)
        updating = length - stood
        seconds, waited = self.first
        each = _number(told, "throughput/update_s")
        updates = (updating / MICRO + seconds) / each if each > 0 else 0.0
        waits = max(0.0, _number(told, "throughput/data_wait_s") * updates - waited)
        waits_us = round(min(waits * MICRO, updating))
        moved = images - self.images
        new = max(0, images - max(self.images, self.furthest))
        # Whole numbers: exact for any count of images.
        productive = (updating - waits_us) * new // moved if moved > 0 else 0
        self._put(
            time,
            {
                "productive": productive,
                "replayed": updating - waits_us - productive,
                "data_wait": waits_us,
                "evaluation": evaluated,
                "checkpoint": stood - evaluated,
            },
        )
        self.images, self.furthest = images, max(self.furthest, images)

    def _left(self, time: int) -> int:
        assert self.at is not None
        return max(0, time - self.at)

    def _spend(self, time: int, cause: Cause, attempt: int | None = None) -> None:
        self._put(time, {cause: self._left(time)}, attempt)

    def _put(self, time: int, parts: Mapping[Cause, int], attempt: int | None = None) -> None:
        """End a stretch at `time`, unless the walk is further."""
        assert self.at is not None
        length = self._left(time)
        if not length:
            return
        kept = {cause: spent for cause, spent in parts.items() if spent}
        assert sum(kept.values()) == length
        assert min(kept.values()) > 0
        whose = self.attempt if attempt is None else attempt
        self.stretches.append(Stretch(self.at, time, whose, kept))
        self.at = time


def _process_start(event: Event, time: int) -> int:
    """When the process began that wrote this, where it tells so; never after it was written."""
    started = event.get("process_started")
    if not isinstance(started, int | float) or not 0 < started < 1e11:
        return time
    return min(time, round(started * MICRO))


def _images(event: Event) -> int:
    seen = event.get("stop" if event["kind"] == "consumed" else "images_seen")
    return max(0, seen) if isinstance(seen, int) else 0


def _number(told: Mapping[str, Any], name: str) -> float:
    """A number of seconds; 0 where there is none that makes sense."""
    found = told.get(name)
    if not isinstance(found, int | float) or not math.isfinite(found):
        return 0.0
    return min(max(0.0, float(found)), 1e11)
