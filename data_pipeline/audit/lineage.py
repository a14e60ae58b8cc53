"""What a run was trained on in the end: the intervals that no restart undid, out of its ledger."""

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from system.foundation.errors import DataError
from system.telemetry.ledger import Event

_MARKS = ("report", "checkpoint", "run_finished")  # written when what came before is accounted for
_SPANS = ("consumed", "positions_left_out")
_KINDS = ("stream_opened", *_SPANS, "bad_sample", "skipped_update", *_MARKS)


@dataclass(frozen=True, slots=True)
class Origin:
    """Everything that the order of the images was a function of, as an attempt wrote it down."""

    shards: str = field(compare=False)  # the same ones may have been moved
    split: str
    manifest_digest: str
    keys_digest: int
    samples: int
    samples_per_epoch: int
    seed: int
    window_shards: int
    selection: dict[str, Any]

    @property
    def is_plain(self) -> bool:
        """Whether an epoch holds every sample once, without a selection."""
        return self.samples == self.samples_per_epoch and self.selection["balance"] == "none"


@dataclass(slots=True)
class Interval:
    """Positions start … stop-1 of the stream, consumed by one attempt or left out by name."""

    attempt: int
    start: int
    stop: int
    digests: dict[int, int]  # of the keys, by epoch
    origin: Origin
    bad: list[Event] = field(default_factory=list)  # samples left out of it
    skipped: list[tuple[int, int]] = field(default_factory=list)  # positions of skipped updates
    left_out: str | None = None  # why nothing of it was trained on, where that was decided


@dataclass(slots=True)
class Lineage:
    """The intervals that count, in order, and what was odd about how they came together."""

    attempts: int = 0
    intervals: list[Interval] = field(default_factory=list)
    undone: list[tuple[int, int, int]] = field(default_factory=list)  # attempt, start, stop
    violations: list[str] = field(default_factory=list)
    next: int = 0  # the position at which the next interval has to begin

    @property
    def stop(self) -> int:
        """The position up to which the run was trained."""
        return self.intervals[-1].stop if self.intervals else 0


def trace(events: Iterable[Event]) -> Lineage:
    """The lineage that a ledger tells of. Raises DataError where it has no account of its data."""
    told = [event for event in events if event["kind"] in _KINDS]
    try:
        lives, strays = _lives(told)
        lineage, reached = Lineage(), 0
        for opened, rest in lives:
            reached = _live(lineage, opened, rest)
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise DataError(
            f"this ledger holds an event that no run writes ({type(problem).__name__}: {problem}). "
            "Copy it again from where the run wrote it."
        ) from problem
    if not lives:
        raise DataError(
            "this ledger has no account of its data (no `stream_opened` event): the run never came "
            "to its first batch, or is of an older version."
        )
    lineage.violations += [
        f"attempt {event['attempt']} consumed positions {event['start']:,} to {event['stop']:,}, "
        "but the ledger does not say where it began"
        for event in strays
        if event["kind"] in _SPANS
    ]
    if reached > lineage.stop:
        lineage.violations.append(
            f"the last attempt came to position {reached:,}, but the ledger accounts for no more "
            f"than {lineage.stop:,}"
        )
    return lineage


def _lives(told: Sequence[Event]) -> tuple[list[tuple[Event, list[Event]]], list[Event]]:
    """Each opening of a stream with the events that belong to it, and those that belong to none.

    Clocks of several machines differ, and may be set back, so time says nothing within an attempt.
    Only where two openings bear the same number does it tell one's events from the other's.
    """
    opened = [event for event in told if event["kind"] == "stream_opened"]
    lives = [(event, list[Event]()) for event in sorted(opened, key=_place)]
    strays = []
    for event in told:
        own = [life for life in lives if life[0]["attempt"] == event["attempt"]]
        earlier = [life for life in own if life[0]["time"] <= event["time"]]
        if event["kind"] == "stream_opened":
            continue
        if own:
            (earlier or own[:1])[-1][1].append(event)
        else:
            strays.append(event)
    return lives, strays


def _place(event: Event) -> tuple[int, float]:
    return event["attempt"], event["time"]


def _live(lineage: Lineage, opened: Event, events: Sequence[Event]) -> int:
    """Take one life of a run into its lineage; the last position that it told to have reached."""
    origin, batch = _origin(opened), opened["global_batch"]
    bad = [event for event in events if event["kind"] == "bad_sample"]
    skipped = [
        (event["images_seen"] - batch, event["images_seen"])
        for event in events
        if event["kind"] == "skipped_update"
    ]
    lineage.attempts += 1
    _take_up(lineage, opened)
    consumed = [event for event in events if event["kind"] in _SPANS]
    for event in sorted(consumed, key=lambda event: (event["start"], event["stop"])):
        _consume(lineage, event, origin, bad, skipped)
    return max((event["images_seen"] for event in events if event["kind"] in _MARKS), default=0)


def _origin(event: Event) -> Origin:
    fields = {name: event[name] for name in Origin.__dataclass_fields__}
    return Origin(**(fields | {"keys_digest": int(event["keys_digest"], 16)}))


def _take_up(lineage: Lineage, event: Event) -> None:
    """An attempt goes on from a checkpoint: what came after that is undone."""
    start, stop = event["images_seen"], lineage.stop
    if start > stop:
        lineage.violations.append(
            f"attempt {event['attempt']} goes on from position {start:,}, but the ledger accounts "
            f"for no more than {stop:,}: what lies between was trained on without an account"
        )
    while lineage.intervals and lineage.intervals[-1].stop > start:
        last = lineage.intervals.pop()
        if last.start < start:
            lineage.violations.append(
                f"attempt {event['attempt']} goes on from position {start:,}, inside an interval "
                f"({last.start:,} to {last.stop:,}) whose digest cannot be divided"
            )
        lineage.undone.append((last.attempt, max(last.start, start), last.stop))
    lineage.next = start


def _consume(
    lineage: Lineage,
    event: Event,
    origin: Origin,
    bad: list[Event],
    skipped: list[tuple[int, int]],
) -> None:
    start, stop = event["start"], event["stop"]
    if start != lineage.next:
        what = "twice" if start < lineage.next else "never"
        between = sorted((start, lineage.next))
        lineage.violations.append(
            f"attempt {event['attempt']}: positions {between[0]:,} to {between[1]:,} were consumed "
            f"{what} (an interval begins at {start:,}, expected {lineage.next:,})"
        )
    if stop <= start:
        raise ValueError(f"an interval from {start} to {stop}")
    lineage.next = stop
    digests = {int(epoch): int(digest, 16) for epoch, digest in event["digests"].items()}
    lineage.intervals.append(
        Interval(
            event["attempt"],
            start,
            stop,
            digests,
            origin,
            [each for each in bad if start <= each["position"] < stop],
            [span for span in skipped if start <= span[0] and span[1] <= stop],
            event["reason"] if event["kind"] == "positions_left_out" else None,
        )
    )
