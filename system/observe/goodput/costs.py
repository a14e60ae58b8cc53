"""What saves and failures cost a run, in seconds: measured in its ledger, or given."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from system.foundation.settings.record import Record
from system.telemetry.goodput import Account
from system.telemetry.goodput import account
from system.telemetry.ledger import Event


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that a run loses, and the share of its training that waits for data."""

    stall_s: float  # the loop stands still for a save
    upload_s: float  # from there until the checkpoint is committed; training goes on meanwhile
    detection_s: float  # from a failure to the start of the next process
    start_up_s: float  # from there to the end of the first update
    launch_s: float  # the same for a run's very first start, with its driver
    closing_s: float  # after the last update: the last save, and evaluations that are waited for
    data_wait_share: float = 0.0


class GivenCosts(Record):
    """Costs that are not to be taken from a run. What stands here without a run is assumed."""

    stall_s: float | None = Field(
        None, ge=0, description="the loop stands still for a save; null: as measured, or 2"
    )
    upload_s: float | None = Field(
        None, ge=0, description="from there to the commit; null: as measured, or 60"
    )
    detection_s: float | None = Field(
        None, ge=0, description="failure to next process; null: as measured, or 30"
    )
    start_up_s: float | None = Field(
        None, ge=0, description="process start to first update; null: as measured, or 120"
    )
    data_wait_share: float | None = Field(
        None, ge=0, lt=1, description="training that waits for data; null: as measured, or 0"
    )


ASSUMED = Costs(2.0, 60.0, 30.0, 120.0, 120.0, 0.0)


def chosen(given: GivenCosts, events: Sequence[Event]) -> Costs:
    """The given costs; those left open as measured in a run's events, else assumed."""
    named = {name: value for name, value in given.model_dump().items() if value is not None}
    return Costs(**(asdict(ASSUMED) | measured(events) | named))


def measured(events: Sequence[Event]) -> dict[str, float]:
    """The costs that a run's ledger tells of, by the names of `Costs`: means over the run."""
    spent = account(events)
    uploads = [e["upload_s"] for e in events if e["kind"] == "checkpoint" and "upload_s" in e]
    after_loss = restarts(spent)
    starts = [spent.seconds("start_up", attempt) for attempt in after_loss]
    losses = [seconds for n in spent.attempts if (seconds := spent.seconds("detection", n)) > 0]
    parts = spent.parts_us()
    training = parts["productive"] + parts["replayed"] + parts["data_wait"]
    found = {
        "launch_s": spent.seconds("start_up") - sum(starts),
        "closing_s": _closing_seconds(spent),
        "data_wait_share": parts["data_wait"] / max(1, training),
    }
    if (stall := _stall_seconds(events)) is not None:
        found["stall_s"] = stall
    told = {"upload_s": uploads, "start_up_s": starts, "detection_s": losses}
    found |= {name: statistics.fmean(each) for name, each in told.items() if each}
    return found if spent.stretches else {}


def restarts(spent: Account) -> list[int]:
    """The attempts that followed on one that was lost, without a new driver between."""
    return [
        other.attempt
        for one, other in pairwise(spent.stretches)
        if "detection" in one.parts and "start_up" in other.parts
    ]


def _closing_seconds(spent: Account) -> float:
    """What came after the last training of the run."""
    total = 0
    for stretch in reversed(spent.stretches):
        if not stretch.parts.keys() <= {"checkpoint", "evaluation"}:
            break
        total += stretch.stop - stretch.start
    return total / 1e6


def _stall_seconds(events: Sequence[Event]) -> float | None:
    """Of one save, over all that a report came after. None where there was none."""
    last: dict[int, int] = {}
    stood = 0.0
    for event in events:
        if event["kind"] == "report":
            stood += event["values"].get("throughput/checkpoint_s", 0.0)
            last[event["attempt"]] = max(last.get(event["attempt"], 0), event["images_seen"])
    saves = {
        (event["attempt"], event["images_seen"])
        for event in events
        if event["kind"] == "checkpoint" and event["images_seen"] < last.get(event["attempt"], 0)
    }
    return stood / len(saves) if saves else None
