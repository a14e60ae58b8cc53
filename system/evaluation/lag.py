"""Which evaluations are still worth their time: training may commit faster than is measured.

Ray keeps every checkpoint until it was evaluated, one after the other. When one's turn comes and
more than `waiting` newer ones wait, it is left out and counted. So it is always the oldest that
goes, the newest that is measured next, and the last of a run never goes: none is newer.
"""

from collections.abc import Sequence

from system.telemetry.ledger import Event

ENDS = ("evaluation", "evaluation_dropped", "evaluation_failed")


def waiting(events: Sequence[Event]) -> list[int]:
    """Images seen of checkpoints whose evaluation was asked for and has no outcome, ascending."""
    asked = {e["images_seen"] for e in events if e["kind"] == "evaluation_requested"}
    ended = {e["images_seen"] for e in events if e["kind"] in ENDS}
    return sorted(asked - ended)


def superseded_by(events: Sequence[Event], images_seen: int, allowed: int) -> int | None:
    """How many newer checkpoints wait, where those are too many for this one to be measured.

    None where it shall be measured.
    """
    newer = [seen for seen in waiting(events) if seen > images_seen]
    return len(newer) if len(newer) > allowed else None


def images_seen_of(checkpoint_url: str) -> int:
    """The images a checkpoint had seen, from its folder's name; 0 for a folder of another name."""
    name = checkpoint_url.rstrip("/").rpartition("/")[2]
    count = name.partition("-")[0]
    return int(count) if count.isdigit() else 0
