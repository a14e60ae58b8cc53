"""What a run was trained on in the end: the intervals that no restart undid, out of its ledger."""

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from system.foundation.errors import DataError
from system.telemetry.ledger import Event


@dataclass(frozen=True, slots=True)
class Origin:
    """Everything that the order of the images was a function of, as an attempt wrote it down."""

    shards: str
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
    """Positions start … stop-1 of the stream, consumed by one attempt."""

    attempt: int
    start: int
    stop: int
    digests: dict[int, int]  # of the keys, by epoch
    origin: Origin
    bad: list[Event] = field(default_factory=list)  # samples left out of it
    skipped: list[tuple[int, int]] = field(default_factory=list)  # positions of skipped updates


@dataclass(slots=True)
class Lineage:
    """The intervals that count, in order, and what was odd about how they came together."""

    attempts: int = 0
    intervals: list[Interval] = field(default_factory=list)
    undone: list[tuple[int, int, int]] = field(default_factory=list)  # attempt, start, stop
    violations: list[str] = field(default_factory=list)

    @property
    def stop(self) -> int:
        """The position up to which the run was trained."""
        return self.intervals[-1].stop if self.intervals else 0


def trace(events: Iterable[Event]) -> Lineage:
    """The lineage that a ledger tells of. Raises DataError where it has no account of its data."""
    lineage, origin, batch = Lineage(), None, 0
    bad: list[Event] = []
    skipped: list[tuple[int, int]] = []
    for event in sorted(events, key=lambda event: (event["attempt"], event["time"])):
        match event["kind"]:
            case "stream_opened":
                lineage.attempts += 1
                origin, batch, bad, skipped = _origin(event), event["global_batch"], [], []
                _take_up(lineage, event)
            case "consumed":
                assert origin is not None, "an attempt opens its stream before it consumes"
                _consume(lineage, event, origin, bad, skipped)
            case "bad_sample":
                bad.append(event)
            case "skipped_update":
                skipped.append((event["images_seen"] - batch, event["images_seen"]))
    if origin is None:
        raise DataError(
            "this ledger has no account of its data (no `stream_opened` event): the run never came "
            "to its first batch, or is of an older version."
        )
    return lineage


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


def _consume(
    lineage: Lineage,
    event: Event,
    origin: Origin,
    bad: list[Event],
    skipped: list[tuple[int, int]],
) -> None:
    start, stop = event["start"], event["stop"]
    if lineage.intervals and start != lineage.stop:
        what = "twice" if start < lineage.stop else "never"
        between = sorted((start, lineage.stop))
        lineage.violations.append(
            f"attempt {event['attempt']}: positions {between[0]:,} to {between[1]:,} were consumed "
            f"{what} (an interval begins at {start:,} after one that ends at {lineage.stop:,})"
        )
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
        )
    )
