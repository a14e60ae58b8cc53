"""Every second on exactly one account: stories with known answers, and histories that make none."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from system.telemetry.attribution import CAUSES
from system.telemetry.attribution import MICRO
from system.telemetry.attribution import attribute
from system.telemetry.attribution import is_mark
from tests.system.telemetry.histories import SPENT
from tests.system.telemetry.histories import event
from tests.system.telemetry.histories import killed_once
from tests.system.telemetry.histories import report

KINDS = (
    "driver_started", "attempt_started", "resumed", "stream_opened", "first_update", "report",
    "consumed", "skipped_update", "attempt_finished", "worker_failed", "run_finished", "evaluation",
    "evaluation_failed", "checkpoint", "of another version",
)  # fmt: skip
ODD = st.sampled_from([None, "7", -3, 1e300, math.nan, math.inf, True, [], {}, 5, 10**30])
SECONDS = st.floats(0, 1000) | ODD


def spent(events, attempt=None):
    found = dict.fromkeys(CAUSES, 0)
    for stretch in attribute(events):
        for cause, part in stretch.parts.items():
            found[cause] += part if attempt in (None, stretch.attempt) else 0
    return {cause: part / MICRO for cause, part in found.items()}


def check(events):
    """The one law: stretches without gap or overlap, from the first mark to the last."""
    stretches, marks = attribute(events), [each for each in events if is_mark(each)]
    for stretch in stretches:
        assert sum(stretch.parts.values()) == stretch.stop - stretch.start > 0
        assert min(stretch.parts.values()) > 0
    for one, other in pairwise(stretches):
        assert one.stop == other.start
    if stretches:
        assert stretches[-1].stop <= max(round(each["time"] * MICRO) for each in marks)
        whole = sum(sum(stretch.parts.values()) for stretch in stretches)
        assert whole == stretches[-1].stop - stretches[0].start
    return stretches


def test_a_killed_worker():
    assert spent(killed_once()) == SPENT
    assert spent(killed_once(), attempt=1) == {
        "productive": 4.75, "replayed": 0, "checkpoint": 1.0, "data_wait": 1.25, "evaluation": 0,
        "start_up": 13.0, "detection": 6.0, "idle": 0,
    }  # fmt: skip
    check(killed_once())


def test_events_may_come_in_any_order():
    shuffled = killed_once()
    random.Random(0).shuffle(shuffled)
    assert spent(shuffled) == SPENT


def test_between_drivers_nobody_runs_it():
    events = [
        *killed_once()[:8],
        event("driver_started", 230.0, 0, process_started=220.0),
        event("attempt_started", 240.0, 2, process_started=239.0),
    ]
    found = spent(events)
    assert found["idle"] == 220.0 - 125.0
    assert found["detection"] == 0
    assert spent(events, attempt=0)["start_up"] == 10.0 + 5.0  # and the first driver's
    check(events)


def test_a_process_that_waited_for_its_turn_began_when_the_last_one_was_missed():
    events = killed_once()
    events[9] = event("attempt_started", 135.0, 2, process_started=110.0)
    found = spent(events)
    assert found["detection"] == 129.0 - 125.0
    assert found["start_up"] == SPENT["start_up"] + 2.0


def test_what_was_accounted_for_after_the_last_report_counts():
    events = killed_once()
    events.insert(8, event("consumed", 127.0, start=70, stop=90))
    found = spent(events)
    assert found["productive"] == SPENT["productive"] + 2.0 - 2.0  # 70 to 90 are seen twice now
    assert found["replayed"] == SPENT["replayed"] + 2.0
    assert found["detection"] == SPENT["detection"] - 2.0


def test_a_loop_that_goes_back_replays():
    events = [
        *killed_once()[:4],
        report(130.0, 130),
        event("stream_opened", 130.0, images_seen=30),
        report(140.0, 130),
        report(150.0, 230),
        event("run_finished", 151.0),
    ]
    found = spent(events)
    assert found["replayed"] == 10.0
    assert found["productive"] == 12.0 + 10.0
    assert found["checkpoint"] == 1.0  # to the end of a run alone


def test_a_run_alone_in_its_process_waits_for_its_evaluations():
    events = [
        event("attempt_started", 1.0),
        event("first_update", 2.0, images_seen=10, seconds=1.0, data_wait_s=0.0),
        report(3.0, 20),
        event("evaluation", 5.0, images_seen=20, values={}, waited_s=1.5),
        report(6.0, 30, stood_s=2.0),
        event("evaluation", 8.0, images_seen=30, values={}, waited_s=1.5),
        event("run_finished", 8.0),
    ]
    found = spent(events)
    assert (found["evaluation"], found["checkpoint"]) == (3.0, 1.0)
    assert found["productive"] == 2.0


@pytest.mark.parametrize("missing", range(len(killed_once())))
def test_one_event_that_is_missing_moves_little(missing):
    events = killed_once()
    is_end = events.pop(missing)["kind"] in ("driver_started", "run_finished")
    found = spent(events)
    check(events)
    # A report that is lost leaves its time to the next; nothing becomes twice as good or bad.
    assert abs(found["productive"] - SPENT["productive"]) <= 10.0
    assert is_end or sum(found.values()) == sum(SPENT.values())


def test_a_clock_set_back_within_a_life_moves_less_than_was_set_back():
    def told(step):
        return [event("attempt_started", 100.0), report(101.0, 10)] + [
            report(101.0 + i - (step if i > 50 else 0), 10 + 10 * i) for i in range(1, 200)
        ]

    straight, bent = spent(told(0)), spent(told(30))
    assert straight["productive"] == 200.0
    assert 200.0 - 30.0 <= bent["productive"] <= 200.0
    check(told(30))


@pytest.mark.parametrize(
    "broken",
    [
        {"kind": "report"},
        {"kind": "report", "time": math.nan, "attempt": 1},
        {"kind": "report", "time": 1e300, "attempt": 1},
        {"kind": "report", "time": "noon", "attempt": 1},
        {"kind": "report", "time": 1.0, "attempt": "first"},
        {"kind": "report", "time": 1.0},
        {"kind": "checkpoint", "time": 1.0, "attempt": 1},
    ],
)
def test_what_is_no_mark_is_passed_over(broken):
    assert not is_mark(broken)
    assert spent([*killed_once(), broken]) == SPENT


@st.composite
def any_event(draw):
    fields = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "process_started": SECONDS, "images_seen": st.integers(0, 300) | ODD,
                "stop": st.integers(0, 300) | ODD, "seconds": SECONDS, "data_wait_s": SECONDS,
                "waited_s": SECONDS, "outcome": st.sampled_from(["finished", "failed", None]),
                "values": ODD | st.fixed_dictionaries(
                    {},
                    optional={
                        "throughput/update_s": SECONDS, "throughput/data_wait_s": SECONDS,
                        "throughput/checkpoint_s": SECONDS,
                    },
                ),
            },
        )
    )  # fmt: skip
    time = draw(st.floats(0, 1000) | st.sampled_from([0.0, 1e-7, 999.9999995, math.nan, "t"]))
    attempt = draw(st.integers(0, 4) | ODD)
    return event(draw(st.sampled_from(KINDS)), time, attempt, **fields)


@settings(max_examples=400, deadline=None)
@given(st.lists(any_event(), max_size=40))
def test_whatever_a_ledger_holds_the_parts_sum_to_the_whole(events):
    check(events)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_run_with_torn_missing_shifted_lines_sums_to_its_wall_time(data):
    events = killed_once()
    for place in data.draw(st.lists(st.integers(0, len(events) - 1), max_size=4, unique=True)):
        events[place] = {
            **events[place],
            "time": events[place]["time"] + data.draw(st.floats(-60, 60)),
        }
    for place in data.draw(st.lists(st.integers(0, len(events) - 1), max_size=6, unique=True)):
        events[place] = {"time": 1.0, "kind": "torn"}
    stretches = check(events)
    marks = [each for each in events if is_mark(each)]
    if stretches:
        first = min(marks, key=lambda each: each["time"])
        begun = min(first["time"], first.get("process_started", math.inf))
        assert stretches[0].start == round(begun * MICRO)
