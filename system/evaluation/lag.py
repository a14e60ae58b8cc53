"""Which evaluations are still worth their time: training may commit faster than is measured.

Ray keeps every checkpoint until it was evaluated, one after the other, and takes none back. So two
things bound what waits. While more than `waiting + MORE_KEPT` do, no further one is asked for, but
for the last of the run. And when the turn of one comes that more than `waiting` newer ones wait
behind, it is left out and counted: it is the oldest that goes, the newest that is measured next.
The last of a run never goes, as none is newer. Nor do more than MORE_KEPT in a row: where training
commits faster than that can be decided, each turn would find newer ones, and nothing be measured.
"""

from collections.abc import Sequence

from system.telemetry.ledger import Event

# What Ray keeps for evaluation beyond what may wait, and how many are left out at a time.
MORE_KEPT = 2
MEASURED = ("evaluation", "evaluation_failed")
ENDS = ("evaluation", "evaluation_dropped", "evaluation_failed")


def waiting(events: Sequence[Event]) -> list[int]:
    """Images seen of checkpoints whose evaluation was asked for and has no outcome, ascending."""
    asked = {e["images_seen"] for e in events if e["kind"] == "evaluation_requested"}
    ended = {e["images_seen"] for e in events if e["kind"] in ENDS}
    return sorted(asked - ended)


def superseded_by(events: Sequence[Event], images_seen: int, allowed: int) -> int | None:
    """How many newer checkpoints wait, where those are too many for this one to be measured.

    None where it shall be measured, or was.
    """
    still = waiting(events)
    newer = [seen for seen in still if seen > images_seen]
    if images_seen not in still or len(newer) <= allowed or _left_out(events) >= MORE_KEPT:
        return None
    return len(newer)


def _left_out(events: Sequence[Event]) -> int:
    """How many that had been asked for were left out since one was measured."""
    asked = {e["images_seen"] for e in events if e["kind"] == "evaluation_requested"}
    count = 0
    for event in events:
        if event["kind"] in MEASURED:
            count = 0
        count += event["kind"] == "evaluation_dropped" and event["images_seen"] in asked
    return count


def images_seen_of(checkpoint_url: str) -> int:
    """The images a checkpoint had seen, from its folder's name; 0 for a folder of another name."""
    name = checkpoint_url.rstrip("/").rpartition("/")[2]
    count = name.partition("-")[0]
    return int(count) if count.isdigit() else 0
