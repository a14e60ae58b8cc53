"""When machines are about to go or to come: save as late as is safe, then stand still.

A cloud says when it will take a machine, half a minute or two before. What is trained between the
last checkpoint and that moment is trained again by whoever goes on, so the last one is saved just
before it: as late as the measured time of a save allows. After it nothing is trained any more.
Workers that end early would count as a run that is done, so they wait to be ended. A change of the
group's size is the same with the end at once.

`decide` is the whole rule, a pure function. `Departure` brings it what it asks: what was announced,
how long an update and a save take.
"""

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from statistics import median
from typing import Literal
from typing import Protocol

from system.foundation.world import World
from system.telemetry.ledger import Ledger

Decision = Literal["train", "save", "wait", "leave"]

# A save is begun when so many times its measured duration is left.
SAFETY = 1.5
# And so much more: clocks of machines differ, and Ray's controller looks twice a second.
MARGIN_S = 2.0
# Where a machine goes and nobody says when, Ray's controller starts anew after so long.
UNKNOWN_DEADLINE_S = 120.0
# Asking is a call of all workers. It may take this share of the time, but is not put off longer.
SHARE = 0.005
LONGEST_BETWEEN_ASKS_S = 5.0
# Those who wait and are not ended by then train on: the machines have not gone after all.
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What was announced: machines that go, another number of workers, or a pause of the run."""

    cause: Literal["preemption", "resize", "pause"]
    heard: float  # when, in Unix time
    deadline: float | None = None  # when they go, in Unix time, where that was told


@dataclass(frozen=True, slots=True)
class Standing:
    """What a decision depends on besides the notice."""

    now: float  # in Unix time
    unsaved: bool  # whether there are updates that no checkpoint has
    saved_since: bool  # whether there was a save since the notice
    update_s: float
    save_s: float | None  # until it is committed; None where none was measured


def decide(notice: Notice | None, standing: Standing) -> Decision:
    """What to do after an update: train on, save first, wait for the end, or save and leave."""
    if notice is None:
        return "train"
    if notice.cause == "pause":
        return "leave"  # what ends by itself saves first, and counts as no failure
    if notice.cause == "resize":
        return "save" if standing.unsaved else "wait"
    # The machine may go any moment, or nobody knows how long a save takes: one at once.
    is_unsure = notice.deadline is None or standing.save_s is None
    if is_unsure and not standing.saved_since:
        return "save" if standing.unsaved else "train"
    left = _end(notice) - standing.now
    needed = SAFETY * (standing.save_s or 0.0) + MARGIN_S
    if left <= 0 or left > needed + standing.update_s:
        return "train"
    return "save" if standing.unsaved else "wait"


def updates_between_asks(ask_s: float, update_s: float) -> int:
    """How many updates apart to ask, so that asking takes SHARE of the time at most."""
    update_s = max(update_s, 1e-6)
    often_enough = max(1, int(LONGEST_BETWEEN_ASKS_S / update_s))
    return min(often_enough, max(1, math.ceil(ask_s / (SHARE * update_s))))


class Announcements(Protocol):
    """Where notices come from; Ray's workers have one."""

    def preemption(self) -> Notice | None:
        """Machines of this run that go, the same on every worker; all must ask alike."""

    def resize(self) -> bool:
        """Whether the group is to be of another size. Asked on rank 0."""

    def pause(self) -> bool:
        """Whether the run is to stop for a while. Asked on rank 0."""

    def upload_s(self) -> float | None:
        """What the slowest of this worker's latest uploads took; None if there was none yet."""

    def settle(self) -> None:
        """Return when every checkpoint handed on is committed."""

    def make_way(self) -> None:
        """Take note that all is saved and nothing is trained any more."""


class Unannounced:
    """What a run hears that nobody tells of machines: nothing."""

    def preemption(self) -> Notice | None:
        """Nothing."""
        return None

    def resize(self) -> bool:
        """No."""
        return False

    def pause(self) -> bool:
        """No."""
        return False

    def upload_s(self) -> float | None:
        """Nothing known."""
        return None

    def settle(self) -> None:
        """Nothing to wait for."""

    def make_way(self) -> None:
        """Nobody to make way for."""


@dataclass(slots=True, eq=False)
class Departure:
    """What one worker knows of the end of its group. All workers must call everything alike."""

    world: World
    ledger: Ledger
    announcements: Announcements = field(default_factory=Unannounced)
    _notice: Notice | None = None
    _until_ask: int = 1
    _asks: deque[float] = field(default_factory=lambda: deque(maxlen=5))
    _updates: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    _saves: deque[float] = field(default_factory=lambda: deque(maxlen=3))
    _saved_at: int = -1  # images seen
    _saved: float = 0.0  # when, in Unix time
    _before: float | None = None  # when the last update ended

    def decide(self, images_seen: int) -> Decision:
        """What to do after an update, the same on every worker."""
        now = time.monotonic()
        if self._before is not None:
            self._updates.append(now - self._before)
        self._until_ask -= 1
        if self._until_ask <= 0:
            self._ask(images_seen)
        decision = self._agree(images_seen)
        self._before = time.monotonic()
        return decision

    @contextmanager
    def saving(self, images_seen: int) -> Iterator[None]:
        """Around each save, to know what one takes."""
        start = time.monotonic()
        yield
        self._saves.append(time.monotonic() - start)
        self._saved_at, self._saved = images_seen, time.time()
        self._before = None

    def wait(self, images_seen: int) -> None:
        """Wait for the end where one was announced and all is saved as late as is safe.

        Else return at once. Called before each update.
        """
        if self._notice is None or images_seen != self._saved_at:
            return
        self.announcements.settle()
        if self._agree(images_seen) == "wait":
            self._stand_by(images_seen)
        self._before = None

    def _ask(self, images_seen: int) -> None:
        start = time.monotonic()
        notice = self.announcements.preemption()
        found: tuple[int, Notice | None] = self.world.broadcast(
            self._plan(notice) if self.world.is_first else None
        )
        # What exceeds the quickest is waiting for a slower worker, which an update does as well.
        self._asks.append(time.monotonic() - start)
        self._until_ask, notice = found
        if notice is not None and self._is_news(notice):
            self._notice = notice
            self._tell(images_seen, notice)

    def _plan(self, notice: Notice | None) -> tuple[int, Notice | None]:
        """When to ask again, and what is announced; rank 0's word."""
        if notice is None and self.announcements.pause():
            notice = Notice("pause", time.time())
        if notice is None and self.announcements.resize():
            notice = Notice("resize", time.time())
        if not self._updates or not self._asks:
            return 1, notice
        return updates_between_asks(min(self._asks), median(self._updates)), notice

    def _is_news(self, notice: Notice) -> bool:
        """Whether it is not the one that is known already, told once more."""
        known = self._notice
        return known is None or (known.cause, known.deadline) != (notice.cause, notice.deadline)

    def _agree(self, images_seen: int) -> Decision:
        """Rank 0's decision: clocks differ."""
        if self._notice is None:
            return "train"
        upload_s = self.world.largest(self.announcements.upload_s() or -1.0)
        standing = Standing(
            now=time.time(),
            unsaved=images_seen != self._saved_at,
            saved_since=self._saved >= self._notice.heard,
            update_s=max(self._updates, default=0.0),
            save_s=None if upload_s < 0 else max(self._saves, default=0.0) + upload_s,
        )
        decided: Decision = self.world.broadcast(decide(self._notice, standing))
        return decided

    def _stand_by(self, images_seen: int) -> None:
        """Do nothing until Ray ends this process, or until it is plain that it does not.

        No worker waits for another one here: when a machine goes, that would be a failure.
        """
        assert self._notice is not None
        if self.world.is_first:
            self.ledger.write("standing_by", images_seen=images_seen, cause=self._notice.cause)
        self.announcements.make_way()
        is_preempted = self._notice.cause == "preemption"
        end = (_end(self._notice) if is_preempted else time.time()) + PATIENCE_S
        self._notice = None
        while time.time() < end:
            time.sleep(0.1)

    def _tell(self, images_seen: int, notice: Notice) -> None:
        if not self.world.is_first:
            return
        left = None if notice.deadline is None else notice.deadline - time.time()
        self.ledger.write("notice", images_seen=images_seen, cause=notice.cause, seconds_left=left)


def _end(notice: Notice) -> float:
    return notice.deadline or notice.heard + UNKNOWN_DEADLINE_S
