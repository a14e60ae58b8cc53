"""Whether failed workers are started again, and how: a pure function of what has failed so far.

    decide([Failure(Cause.UNKNOWN, images_seen=4096)], room)  ->  restart, at once

| cause | what is done |
| --- | --- |
| config, data, numerics, full disk | never again: it would end the same way |
| preemption, a restart that a worker asked for | always again, without count or wait |
| out of memory | once again with a smaller micro-batch, then no more |
| the same position twice | again without the batch there: it is poison, and is named |
| one node twice | again without that node, where the others suffice |
| a lost worker, a stall, a store, anything else | again, waiting longer each time, so many times |

A position is the images seen when an update began. It is poison where an update fails at it twice
although another one went well before: a failure in the very first update of every attempt says
more about the start. A process that was killed from outside says nothing of why, so it takes three.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from system.launch.causes import Cause

PERMANENT = (Cause.CONFIG, Cause.DATA, Cause.NUMERICS, Cause.DISK_FULL)
# No failures, but how a run is meant to go.
EXPECTED = {
    Cause.PREEMPTED: "the nodes were taken away",
    Cause.PLANNED: "a worker asked for it",
}
# What neither a batch nor a node is to blame for.
BLAMELESS = (*EXPECTED, Cause.OUT_OF_MEMORY, Cause.STORAGE)
FAILURES_OF_POISON = 2
DEATHS_OF_POISON = 3
FAILURES_OF_A_BAD_NODE = 2
LONGEST_WAIT_S = 60.0
LATER_WAIT_S = 5.0
# What a store needs to come back; all else is tried again at once.
FIRST_WAIT_S = {Cause.STORAGE: 10.0}


@dataclass(frozen=True, slots=True)
class Failure:
    """One end of a group of workers."""

    cause: Cause
    images_seen: int | None = None  # when the update that failed began; None where nobody knows
    has_moved: bool = False  # whether its attempt had made an update before
    nodes: tuple[str, ...] = ()  # where it began
    saved: bool = False  # whether a checkpoint was committed since the failure before


@dataclass(frozen=True, slots=True)
class Room:
    """What a restart may make use of."""

    restarts: int  # in a row, without a new checkpoint between them; -1: no limit
    smaller_micro_batch: int | None = None  # None where one image a pass is what there is
    spare_nodes: frozenset[str] = frozenset()  # without any of which the workers still fit


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about a failure, and why."""

    action: Literal["restart", "skip", "stop"]
    reason: str
    wait_s: float = 0.0
    micro_batch: int | None = None  # smaller than before
    without_node: str | None = None
    position: int | None = None  # of a poison batch


def decide(failures: Sequence[Failure], room: Room) -> Decision:
    """What to do about the last of the failures, given those before it."""
    newest = failures[-1]
    if newest.cause in PERMANENT:
        return Decision("stop", f"{newest.cause}: a restart would end the same way")
    if newest.cause in EXPECTED:
        return Decision("restart", EXPECTED[newest.cause])
    if newest.cause is Cause.OUT_OF_MEMORY:
        return _after_out_of_memory(failures, room)
    in_a_row = _in_a_row(failures)
    is_too_often = 0 <= room.restarts < in_a_row
    if _is_poison(failures):
        return Decision(
            "stop" if is_too_often else "skip",
            f"the update after {newest.images_seen:,} images fails every time: a poison batch",
            position=newest.images_seen,
        )
    if is_too_often:
        return Decision("stop", f"{in_a_row} failures in a row without a new checkpoint")
    node = _bad_node(failures)
    return Decision(
        "restart",
        f"{newest.cause}: failure {in_a_row} in a row",
        wait_s=wait_s(newest.cause, in_a_row),
        without_node=node if node in room.spare_nodes else None,
    )


def wait_s(cause: Cause, in_a_row: int) -> float:
    """Seconds before the workers are started again after the n-th failure in a row."""
    first = FIRST_WAIT_S.get(cause, 0.0)
    if in_a_row == 1:
        return first
    return float(min(LONGEST_WAIT_S, max(first, LATER_WAIT_S) * 2 ** min(in_a_row - 2, 10)))


def smaller_micro_batch(share: int, now: int | None) -> int | None:
    """The largest micro-batch of at most half that cuts a worker's share evenly; None below 1."""
    half = min(now or share, share) // 2
    return next((n for n in range(half, 0, -1) if share % n == 0), None)


def _after_out_of_memory(failures: Sequence[Failure], room: Room) -> Decision:
    before = sum(each.cause is Cause.OUT_OF_MEMORY for each in failures[:-1])
    if before:
        return Decision("stop", "out of memory again, with a smaller micro-batch")
    if room.smaller_micro_batch is None:
        return Decision("stop", "out of memory with a micro-batch of one image")
    return Decision(
        "restart",
        f"out of memory: once more with a micro-batch of {room.smaller_micro_batch}",
        micro_batch=room.smaller_micro_batch,
    )


def _is_poison(failures: Sequence[Failure]) -> bool:
    newest = failures[-1]
    if newest.images_seen is None or newest.cause in BLAMELESS:
        return False
    same = [
        each
        for each in failures
        if each.images_seen == newest.images_seen and each.cause not in BLAMELESS
    ]
    enough = DEATHS_OF_POISON if newest.cause is Cause.LOST else FAILURES_OF_POISON
    return len(same) >= enough and any(each.has_moved for each in same)


def _in_a_row(failures: Sequence[Failure]) -> int:
    """Failures that count, since a checkpoint was last committed."""
    count = 0
    for each in reversed(failures):
        count += each.cause not in (*EXPECTED, Cause.OUT_OF_MEMORY)
        if each.saved:
            break
    return count


def _bad_node(failures: Sequence[Failure]) -> str | None:
    """The one node on which each of the last failures began."""
    last = [each for each in failures if each.cause not in BLAMELESS][-FAILURES_OF_A_BAD_NODE:]
    nodes = {each.nodes for each in last}
    if len(last) < FAILURES_OF_A_BAD_NODE or len(nodes) > 1 or failures[-1].cause in BLAMELESS:
        return None
    return last[0].nodes[0] if len(last[0].nodes) == 1 else None
