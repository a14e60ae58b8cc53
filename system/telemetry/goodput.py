"""Where a run's time went: every second of it, from its ledger, on exactly one account.

    spent = account(read_ledger("runs/digits"))
    spent.goodput            # share of the wall time that new images were trained on
    spent.seconds("replayed")

Wall time runs from the start of the first process that the ledger tells of to its last mark; lives
of the run, what lies between them, and every stretch within them are cut out of that one line, so
that the parts always sum to the whole. `attribution` says which event puts a stretch on which
account.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from system.telemetry.attribution import CAUSES
from system.telemetry.attribution import MICRO
from system.telemetry.attribution import Cause
from system.telemetry.attribution import Stretch
from system.telemetry.attribution import Walk
from system.telemetry.attribution import attribute
from system.telemetry.attribution import is_mark
from system.telemetry.attribution import note_furthest
from system.telemetry.ledger import Event


@dataclass(frozen=True, slots=True)
class Account:
    """A run's wall time in stretches that follow one another, each divided by cause."""

    stretches: Sequence[Stretch]

    @property
    def wall_us(self) -> int:
        """From the first sign of the run to the last, in whole microseconds, as all is counted."""
        return self.stretches[-1].stop - self.stretches[0].start if self.stretches else 0

    @property
    def wall_s(self) -> float:
        """From the first sign of the run to the last."""
        return self.wall_us / MICRO

    def parts_us(self, attempt: int | None = None) -> Counter[Cause]:
        """Microseconds by cause, of one attempt or of all; between drivers' lives is attempt 0."""
        total: Counter[Cause] = Counter()
        for stretch in self.stretches:
            if attempt in (None, stretch.attempt):
                total.update(stretch.parts)
        return total

    def seconds(self, cause: Cause, attempt: int | None = None) -> float:
        """Seconds of one cause, of one attempt or of all."""
        return self.parts_us(attempt)[cause] / MICRO

    @property
    def attempts(self) -> list[int]:
        """The attempts that the ledger tells of, ascending."""
        return sorted({stretch.attempt for stretch in self.stretches} - {0})

    @property
    def goodput(self) -> float:
        """Share of the wall time that images were trained on for the first time; 0 of no time."""
        return self.parts_us()["productive"] / max(1, self.wall_us)

    @property
    def goodput_while_driven(self) -> float:
        """The same without the time in which nobody drove the run."""
        parts = self.parts_us()
        return parts["productive"] / max(1, self.wall_us - parts["idle"])


def account(events: Iterable[Event]) -> Account:
    """The account of a run whose ledger holds these events, in any order. Never raises for what a
    line says: what makes no sense is passed over, and its time falls to what comes next."""
    return Account(tuple(attribute(events)))


def values(spent: Account) -> dict[str, float]:
    """An account as metrics of the registry."""
    parts = spent.parts_us()
    return {
        "goodput/share": spent.goodput,
        "goodput/share_while_driven": spent.goodput_while_driven,
        "goodput/wall_s": spent.wall_s,
        **{f"goodput/{cause}_s": parts[cause] / MICRO for cause in CAUSES},
    }


class RunningAccount:
    """The account of a run that goes on, from its events as they come.

    It keeps none of them: stretches of one attempt that follow one another become one, so neither
    its size nor what an event costs grows with the run. An event that comes later than a younger
    one counts where it comes.
    """

    def __init__(self) -> None:
        self._furthest: dict[int, int] = {}
        self._walk = Walk(self._furthest)

    def take(self, events: Iterable[Event]) -> None:
        """Take in what is new, in order of time."""
        for event in events:
            if is_mark(event):
                note_furthest(self._furthest, event)
                self._walk.take(event)
                self._walk.stretches = _joined(self._walk.stretches)

    @property
    def so_far(self) -> Account:
        """The account up to the last event."""
        return Account(tuple(self._walk.stretches))


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same time with one stretch where several of one attempt lie side by side."""
    found: list[Stretch] = []
    for each in stretches:
        if found and found[-1].attempt == each.attempt:
            before = found.pop()
            parts = Counter(before.parts)
            parts.update(each.parts)
            found.append(Stretch(before.start, each.stop, each.attempt, parts))
        else:
            found.append(each)
    return found


class LiveAccount:
    """The account of a run that goes on: takes its events as they come, and tells of them."""

    def __init__(self, earlier: Iterable[Event] = ()) -> None:
        self._account = RunningAccount()
        self._account.take(earlier)

    def with_news(self, events: Sequence[Event]) -> list[Event]:
        """These events, and where one is a report, before them one of kind `goodput` for sinks to
        show. That is no part of the ledger, as it says nothing that is not there."""
        self._account.take(events)
        reports = [e for e in events if e["kind"] == "report" and "images_seen" in e and is_mark(e)]
        if not reports:
            return list(events)
        last: Mapping[str, object] = reports[-1]
        told = values(self._account.so_far)
        return [{**last, "kind": "goodput", "values": told}, *events]
