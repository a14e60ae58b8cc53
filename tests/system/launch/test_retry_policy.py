"""The retry policy as a table: what has failed so far, what a restart may use, what is decided."""

import itertools

import pytest

from system.launch.causes import Cause
from system.launch.retry_policy import EXPECTED
from system.launch.retry_policy import LONGEST_WAIT_S
from system.launch.retry_policy import PERMANENT
from system.launch.retry_policy import Failure
from system.launch.retry_policy import Room
from system.launch.retry_policy import decide
from system.launch.retry_policy import smaller_micro_batch
from system.launch.retry_policy import wait_s

ROOM = Room(restarts=3, smaller_micro_batch=16)


def at(position, cause=Cause.UNKNOWN, *, moved=True, nodes=(), saved=False):
    return Failure(cause, position, moved, nodes, saved)


def of(cause, count=1, **fields):
    """As many failures at different positions."""
    return [Failure(cause, 64 * n, True, **fields) for n in range(count)]


@pytest.mark.parametrize("cause", PERMANENT)
def test_what_would_come_again_is_never_tried_again(cause):
    assert decide([Failure(cause)], Room(restarts=-1)).action == "stop"


def test_every_cause_is_decided_on():
    for cause in Cause:
        decide([Failure(cause)], ROOM)


@pytest.mark.parametrize("cause", EXPECTED)
@pytest.mark.parametrize("count", [1, 4, 100])
def test_what_is_no_failure_is_not_counted_and_not_waited_for(cause, count):
    failures = of(cause, count)
    decision = decide(failures, Room(restarts=0))
    assert (decision.action, decision.wait_s) == ("restart", 0)
    later = decide([*failures, *of(Cause.UNKNOWN, 3)], ROOM)
    assert later.action == "restart"


OUT_OF_MEMORY = [
    ([Cause.OUT_OF_MEMORY], 16, "restart", 16),
    ([Cause.OUT_OF_MEMORY], None, "stop", None),
    ([Cause.OUT_OF_MEMORY, Cause.OUT_OF_MEMORY], 8, "stop", None),
    ([Cause.UNKNOWN, Cause.OUT_OF_MEMORY], 16, "restart", 16),
    ([Cause.OUT_OF_MEMORY, Cause.UNKNOWN, Cause.OUT_OF_MEMORY], 8, "stop", None),
    ([Cause.OUT_OF_MEMORY, Cause.UNKNOWN], 8, "restart", None),
]


@pytest.mark.parametrize(("causes", "smaller", "action", "micro_batch"), OUT_OF_MEMORY)
def test_out_of_memory_once_with_a_smaller_micro_batch(causes, smaller, action, micro_batch):
    decision = decide([Failure(cause) for cause in causes], Room(3, smaller))
    assert (decision.action, decision.micro_batch) == (action, micro_batch)


POISON = {
    "twice": ([at(64), at(64)], 64),
    "not in a row": ([at(64), at(128), at(64)], 64),
    "elsewhere": ([at(64), at(128)], None),
    "always in the first update": ([at(64, moved=False), at(64, moved=False)], None),
    "taken up there the second time": ([at(64), at(64, moved=False)], 64),
    "nobody knows where": ([at(None), at(None)], None),
    "taken back there": ([at(64, Cause.PLANNED), at(64, Cause.PLANNED)], None),
    "once by preemption": ([at(64, Cause.PREEMPTED), at(64)], None),
    "the store was down": ([at(64, Cause.STORAGE), at(64, Cause.STORAGE)], None),
    "stalled twice": ([at(64, Cause.STALLED), at(64, Cause.STALLED)], 64),
    "killed twice": ([at(64, Cause.LOST), at(64, Cause.LOST)], None),
    "killed three times": ([at(64, Cause.LOST)] * 3, 64),
    "killed, then said why": ([at(64, Cause.LOST), at(64)], 64),
}


@pytest.mark.parametrize("case", POISON)
def test_the_same_position_twice_is_a_poison_batch(case):
    failures, position = POISON[case]
    decision = decide(failures, Room(restarts=-1))
    assert decision.position == position
    assert decision.action == ("restart" if position is None else "skip")
    if position is not None:
        assert f"{position:,} images" in decision.reason


@pytest.mark.parametrize("cause", [Cause.UNKNOWN, Cause.LOST, Cause.STALLED, Cause.STORAGE])
@pytest.mark.parametrize(("restarts", "count", "action"), [
    (3, 3, "restart"), (3, 4, "stop"), (0, 1, "stop"), (-1, 50, "restart"),
])  # fmt: skip
def test_what_nobody_knows_is_tried_again_so_many_times(cause, restarts, count, action):
    assert decide(of(cause, count), Room(restarts)).action == action


def test_a_checkpoint_between_failures_begins_a_new_row():
    failures = [*of(Cause.UNKNOWN, 3), at(640, saved=True)]
    assert decide(failures, ROOM).action == "restart"
    assert "failure 1 in a row" in decide(failures, ROOM).reason
    assert decide([*failures, at(704), at(768), at(832)], ROOM).action == "stop"


@pytest.mark.parametrize("cause", list(Cause))
def test_waits_grow_and_have_an_end(cause):
    waits = [wait_s(cause, n) for n in range(1, 40)]
    assert all(a <= b for a, b in itertools.pairwise(waits))
    assert waits[-1] == LONGEST_WAIT_S


def test_the_first_restart_waits_for_nothing_but_a_store():
    assert wait_s(Cause.LOST, 1) == 0
    # A minute without the store is survived by the restarts that a run has unless told otherwise.
    assert sum(wait_s(Cause.STORAGE, n) for n in range(1, 4)) == 40


NODES = {
    "twice on one": ([at(1, nodes=("a",)), at(2, nodes=("a",))], "a"),
    "twice, of three": ([at(0, nodes=("b",)), at(1, nodes=("a",)), at(2, nodes=("a",))], "a"),
    "once": ([at(1, nodes=("a",))], None),
    "on two in turn": ([at(1, nodes=("a",)), at(2, nodes=("b",))], None),
    "on both at once": ([at(1, nodes=("a", "b")), at(2, nodes=("a", "b"))], None),
    "nobody knows": ([at(1), at(2)], None),
    "not spare": ([at(1, nodes=("only",)), at(2, nodes=("only",))], None),
    "the store was down": ([at(n, Cause.STORAGE, nodes=("a",)) for n in (1, 2)], None),
    "a preemption between": (
        [at(1, nodes=("a",)), at(2, Cause.PREEMPTED, nodes=("b",)), at(3, nodes=("a",))],
        "a",
    ),
}


@pytest.mark.parametrize("case", NODES)
def test_a_bad_node_is_left_out_where_the_others_suffice(case):
    failures, node = NODES[case]
    decision = decide(failures, Room(-1, spare_nodes=frozenset("ab")))
    assert (decision.action, decision.without_node) == ("restart", node)


@pytest.mark.parametrize(
    ("share", "now", "smaller"),
    [(64, None, 32), (64, 64, 32), (64, 8, 4), (12, 12, 6), (12, 6, 3), (15, None, 5), (7, 7, 1),
     (4, 1, None), (1, None, None), (8, 64, 4)],
)  # fmt: skip
def test_a_smaller_micro_batch_still_cuts_the_share_evenly(share, now, smaller):
    assert smaller_micro_batch(share, now) == smaller
