"""How often a run was taken back, what it is to leave out, and which checkpoints it distrusts.

All of it stands in the ledger, so it holds for whoever goes on with the run: in `rolled_back`, and
in `failure_decided` where that gives a batch up which fails every time.

A checkpoint is tainted if it was saved after a spike's first position and before the run was taken
back: its weights have taken the harm. The same position in a later attempt is another state.
"""

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

from data_pipeline.order.exclusion import Exclusion
from system.foundation.errors import NumericsError
from system.foundation.errors import RolledBack
from system.foundation.settings import guards as settings
from system.foundation.world import World
from system.telemetry.ledger import Event
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.guards.spikes import Reading
from system.train.guards.spikes import Spike


@dataclass(frozen=True, slots=True)
class Rollback:
    """One time that a run was taken back, or gave up a batch."""

    attempt: int  # whose checkpoints, and older ones', are tainted; 0: none are
    start: int
    stop: int
    reason: str
    normal: tuple[Reading, ...] = ()  # what was normal before it


def known_rollbacks(world: World, ledger: Ledger) -> tuple[Rollback, ...]:
    """Those of the run so far, the same on every worker, which all must ask."""
    return world.broadcast(rollbacks_in(read_ledger(ledger.run_url)) if world.is_first else None)


def rollbacks_in(events: Iterable[Event]) -> tuple[Rollback, ...]:
    """Those that a ledger tells of, in order."""
    found = []
    for event in events:
        if event["kind"] == "rolled_back":
            terms = frozenset(event["terms"])
            readings = (Reading(start, loss, norm, terms) for start, loss, norm in event["normal"])
            span = event["start"], event["stop"]
            found.append(Rollback(event["attempt"], *span, event["reason"], tuple(readings)))
        elif event["kind"] == "failure_decided" and event["action"] == "skip":
            position = event.get("position", 0)
            found.append(Rollback(0, position, position + 1, event["reason"]))
    return tuple(found)


def exclusion_of(rollbacks: Iterable[Rollback]) -> Exclusion:
    """The positions to go on without."""
    return Exclusion(tuple((each.start, each.stop) for each in rollbacks))


def left_out(rollbacks: Iterable[Rollback], start: int, stop: int) -> str | None:
    """Why the batch of positions start … stop-1 is left out; None if it is not."""
    for each in rollbacks:
        if exclusion_of([each]).touches(start, stop):
            return each.reason
    return None


def taint(rollbacks: Iterable[Rollback], images_seen: int, attempt: int) -> str | None:
    """Why a checkpoint is not to be gone on from; None if it may be."""
    for each in rollbacks:
        if attempt <= each.attempt and images_seen > each.start:
            return (
                f"saved after the spike at position {each.start:,}, which attempt {each.attempt} "
                "was taken back for"
            )
    return None


def known_normal(rollbacks: Sequence[Rollback], images_seen: int) -> list[Reading]:
    """What was normal when the run was last taken back, for an attempt that leads up to there.

    Without it the attempt after a rollback would take for normal whatever comes first.
    """
    last = next((each for each in reversed(rollbacks) if each.normal), None)
    if last is None or images_seen > last.stop:
        return []
    return [each for each in last.normal if each.start < images_seen]


def take_back(
    spike: Spike,
    normal: Sequence[Reading],
    *,
    spikes: settings.Spikes,
    earlier: int,
    ledger: Ledger | None,
) -> None:
    """Raise RolledBack, once the ledger has what a restart needs; NumericsError past the limit.

    `ledger` is rank 0's; the other workers have None.
    """
    where = f"positions {spike.start:,} to {spike.stop:,}"
    if earlier >= spikes.max_rollbacks:
        raise NumericsError(
            f"a spike at {where}: {spike.reason}. The run was taken back {earlier} times already, "
            "which is all that guards.spikes.max_rollbacks allows. Look at what the ledger's "
            "rolled_back events name (jobs/audit_run.py lists the keys); a lower "
            "engine.optimiser.learning_rate or engine.gradient_clip are the usual cures, "
            "guards.spikes.on_spike=ignore goes on regardless"
        )
    if ledger is not None:
        ledger.write(
            "rolled_back",
            start=spike.start,
            stop=spike.stop,
            reason=spike.reason,
            terms=sorted(normal[-1].terms) if normal else [],
            normal=[[each.start, each.loss, each.gradient_norm] for each in normal],
        )
    raise RolledBack(
        f"a spike at {where}: {spike.reason}. The run goes on from its last checkpoint before it, "
        f"and leaves these positions out (time {earlier + 1} of {spikes.max_rollbacks} allowed)"
    )
