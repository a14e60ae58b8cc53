"""What a worker is at, as its loop says it; read by the thread that looks for hangs.

pulse = Pulse()
for batch in pulse.taking(stream):  # "data" while it waits, "update" after
    ...
    pulse.beat()
with pulse.saving():
    ...
"""

import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic
from typing import Literal
from typing import TypeVar

Stage = Literal["start", "data", "update", "save"]
T = TypeVar("T")
KEPT = 64


@dataclass(frozen=True, slots=True)
class Reading:
    """What a worker is at."""

    stage: Stage
    since: float  # monotonic: when the last update was finished, or a save begun or ended
    typical_s: float | None  # the median of the last updates; None before there are some


class Pulse:
    """Written by one thread. Each write is one assignment, so that any thread may read."""

    def __init__(self) -> None:
        self._now: Reading = Reading("start", time.monotonic(), None)
        self._lengths: deque[float] = deque(maxlen=KEPT)

    def read(self) -> Reading:
        """What the worker is at now."""
        return self._now

    def at(self, stage: Stage) -> None:
        """Say what the update is at. The first ones count as the start until it is finished."""
        now = self._now
        if now.stage not in ("start", stage):
            self._now = Reading(stage, now.since, now.typical_s)

    def beat(self) -> None:
        """An update is finished."""
        now = time.monotonic()
        if self._now.stage != "start":
            self._lengths.append(now - self._now.since)
        typical_s = statistics.median(self._lengths) if self._lengths else None
        self._now = Reading("update", now, typical_s)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """A save, which has a limit of its own and is no part of an update."""
        before = self._now
        self._now = Reading("save", time.monotonic(), before.typical_s)
        try:
            yield
        finally:
            stage: Stage = "start" if before.stage == "start" else "update"
            self._now = Reading(stage, time.monotonic(), before.typical_s)

    def taking(self, stream: Iterator[T]) -> "Taking[T]":
        """The same stream, which says when it is waited for."""
        return Taking(self, stream)


class Taking(Iterator[T], Generic[T]):
    """A stream that says when it is waited for."""

    def __init__(self, pulse: Pulse, stream: Iterator[T]) -> None:
        self._pulse = pulse
        self._stream = stream

    def __next__(self) -> T:
        self._pulse.at("data")
        taken = next(self._stream)
        self._pulse.at("update")
        return taken
