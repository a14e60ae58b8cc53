"""What is known of one run, folded out of its ledger as that grows: a record of the newest of all.

    story = Story("runs/digits")
    story.take(follower.poll())
    story.view(now=time.time()).values["evaluation/gfid"]

It keeps nothing that grows with the number of reports, so it can follow hundreds of long runs.
"""

import math
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Literal

from system.telemetry import goodput
from system.telemetry.ledger import Event

State = Literal["waiting", "running", "ended", "failed", "stopped"]

# A run that says nothing for longer than this, or than so many times its longest silence between
# two reports, has no driver any more; while it waits for nodes it may be silent for longer.
SILENCE_S = 900.0
SILENT_REPORTS = 5
SILENCE_WAITING_S = 4 * 3600.0

_MOVES = ("resumed", "first_update", "report", "run_finished")
_ENDS_OF_EVALUATION = ("evaluation", "evaluation_dropped", "evaluation_failed")


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """A checkpoint that was committed."""

    images_seen: int
    time: float
    url: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The numbers of one evaluation; uncertainties stand under `<name>_standard_error`."""

    images_seen: int
    time: float
    protocol: str
    values: Mapping[str, float]
    samples: str | None

    def error(self, name: str) -> float | None:
        """The uncertainty of a number, where it was measured."""
        return self.values.get(f"{name}_standard_error")


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it stands. Times are seconds since 1970; what is not known is None or empty."""

    name: str
    url: str
    state: State = "waiting"
    was_stopped: bool = False  # it said so itself, and has not just fallen silent
    attempt: int = 0
    restarts: int = 0
    workers: int = 0
    worker_seconds: float = 0.0  # of all attempts: wall time times workers
    images_seen: int = 0
    total_images: int | None = None
    recipe_digest: str | None = None
    started: float | None = None
    last_event: float | None = None
    last_report: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)  # of reports: newest by metric
    goodput: Mapping[str, float] = field(default_factory=dict)  # by metric: shares and seconds
    checkpoint: SavedCheckpoint | None = None
    evaluations: tuple[Evaluated, ...] = ()  # in order of images seen, one for each and protocol
    evaluations_waiting: Mapping[int, float] = field(default_factory=dict)  # images: asked at
    counts: Mapping[str, int] = field(default_factory=dict)  # events by kind
    failures: Mapping[str, int] = field(default_factory=dict)  # failures by cause
    checkpoint_interval_s: float | None = None  # mean time between two of one attempt
    slowest: Mapping[int, int] = field(default_factory=dict)  # reports by the slowest worker's rank
    problem: str | None = None  # why it could not be read to its end this time

    @property
    def is_over(self) -> bool:
        """Whether it has said that it goes on no more, or has all its images."""
        is_complete = self.total_images is not None and self.images_seen >= self.total_images
        return self.state in ("ended", "failed") or self.was_stopped or is_complete

    def best(self, name: str) -> float | None:
        """The lowest value that an evaluation has found of a metric."""
        found = [one.values[name] for one in self.evaluations if name in one.values]
        return min(found, default=None)

    def newest(self, name: str) -> tuple[float, float | None] | None:
        """The newest evaluated value of a metric, by images seen, and its uncertainty."""
        for one in reversed(self.evaluations):
            if name in one.values:
                return one.values[name], one.error(name)
        return None


class Story:
    """A run's view in the making: takes the events of its ledger in order of time."""

    def __init__(self, url: str) -> None:
        self.total_images: int | None = None
        self.recipe_digest: str | None = None
        self._url = url
        self._name = url.rstrip("/").rpartition("/")[2]
        self._state: State = "waiting"
        self._attempt = 0
        self._attempts = 0
        self._images = 0
        self._workers: dict[int, int] = {}
        self._started: float | None = None
        self._last: float | None = None
        self._reported: float | None = None
        self._longest_silence = 0.0
        self._values: dict[str, float] = {}
        self._account = goodput.RunningAccount()
        self._checkpoint: SavedCheckpoint | None = None
        self._saved: tuple[int, float] | None = None  # attempt and time of the newest checkpoint
        self._between, self._gaps = 0.0, 0
        self._slowest: Counter[int] = Counter()
        self._evaluations: dict[tuple[int, str], Evaluated] = {}
        self._asked: dict[int, float] = {}
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def take(self, events: Iterable[Event]) -> None:
        """Take in what is new. An event that lacks what its kind has is counted, no more."""
        for event in events:
            self._counts[event["kind"]] += 1
            try:
                self._take(event)
                self._account.take([event])
            except (KeyError, TypeError, ValueError, AttributeError):
                self._counts["unreadable"] += 1

    def view(self, now: float) -> RunView:
        """The run as it stands."""
        spent = self._account.so_far
        return RunView(
            name=self._name,
            url=self._url,
            state=self._state_at(now),
            was_stopped=self._state == "stopped",
            attempt=self._attempt,
            restarts=max(0, self._attempts - 1),
            workers=self._workers.get(self._attempt, 0),
            worker_seconds=sum(
                n * sum(spent.parts_us(attempt).values()) / 1e6
                for attempt, n in self._workers.items()
            ),
            images_seen=self._images,
            total_images=self.total_images,
            recipe_digest=self.recipe_digest,
            started=self._started,
            last_event=self._last,
            last_report=self._reported,
            values=dict(self._values),
            goodput=goodput.values(spent) if spent.wall_us else {},
            checkpoint=self._checkpoint,
            evaluations=tuple(self._evaluations[key] for key in sorted(self._evaluations)),
            evaluations_waiting=dict(sorted(self._asked.items())),
            counts=dict(self._counts),
            failures=dict(self._failures),
            checkpoint_interval_s=self._between / self._gaps if self._gaps else None,
            slowest=dict(sorted(self._slowest.items())),
        )

    def _state_at(self, now: float) -> State:
        """The state by what was told last, unless that was too long ago."""
        if self._state not in ("running", "waiting") or self._last is None:
            return self._state
        patience = max(SILENCE_S, SILENT_REPORTS * self._longest_silence)
        if self._state == "waiting":
            patience = max(SILENCE_WAITING_S, patience)
        return "stopped" if now - self._last > patience else self._state

    def _take(self, event: Event) -> None:
        kind, time = event["kind"], float(event["time"])
        self._started = time if self._started is None else min(self._started, time)
        self._last = time if self._last is None else max(self._last, time)
        attempt = event.get("attempt", 0)
        if kind in _ENDS_OF_EVALUATION:
            self._asked.pop(event.get("images_seen", -1), None)
        if kind == "evaluation":
            self._evaluated(event, time)
        elif kind == "evaluation_requested":
            self._asked[event["images_seen"]] = time
        elif kind == "checkpoint":
            self._committed(event, time)
        elif attempt >= self._attempt or not attempt:  # what a lost attempt still says is stale
            self._turn(event, time)

    def _turn(self, event: Event, time: float) -> None:
        kind = event["kind"]
        self._state = self._next_state(event) or self._state
        if kind == "attempt_started":
            self._attempts += 1
            self._attempt = event["attempt"]
            self._workers[self._attempt] = int(event.get("workers", 1))
            self._reported = None
        elif kind == "failure_decided":
            self._failures[str(event.get("cause", "unknown"))] += 1
        if kind in _MOVES:
            self._images = int(event["images_seen"])
        if kind == "report":
            if self._reported is not None:
                self._longest_silence = max(self._longest_silence, time - self._reported)
            self._reported = time
            values = _finite(event["values"])
            self._values.update(values)
            if "throughput/slowest_rank" in values:
                self._slowest[int(values["throughput/slowest_rank"])] += 1

    def _next_state(self, event: Event) -> State | None:
        """The state that an event puts its run into; None where it says nothing of it."""
        kind = event["kind"]
        if kind in ("attempt_started", "resumed", "first_update", "report"):
            return "running"
        if kind == "failure_decided":
            return "failed" if event.get("action") == "stop" else "waiting"
        if kind == "attempt_finished" and event.get("outcome") == "finished":
            is_short = self.total_images is not None and self._images < self.total_images
            return "stopped" if is_short else "waiting"
        if kind in ("driver_started", "worker_failed", "attempt_finished"):
            return "waiting"
        return "ended" if kind == "run_finished" else None

    def _committed(self, event: Event, time: float) -> None:
        url = str(event.get("checkpoint", ""))
        self._checkpoint = SavedCheckpoint(int(event["images_seen"]), time, url)
        if self._saved is not None and self._saved[0] == event.get("attempt"):
            self._between, self._gaps = self._between + time - self._saved[1], self._gaps + 1
        self._saved = event.get("attempt", 0), time

    def _evaluated(self, event: Event, time: float) -> None:
        seen, protocol = int(event["images_seen"]), str(event.get("protocol", ""))
        values, samples = _finite(event["values"]), event.get("samples")
        one = Evaluated(seen, time, protocol, values, samples)
        self._evaluations[seen, protocol] = one


def _finite(told: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in told.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
