"""What one run comes to, from events in every order that matters."""

from typing import Any

import pytest

from system.observe.run_view import SILENCE_S
from system.observe.run_view import RunView
from system.observe.run_view import Story
from system.telemetry.goodput import account
from system.telemetry.goodput import values
from tests.system.telemetry.histories import event
from tests.system.telemetry.histories import killed_once


def told(*events: dict[str, Any], now: float = 0.0, total: int | None = None) -> RunView:
    story = Story("runs/one")
    story.total_images = total
    story.take(events)
    return story.view(now)


def evaluation(time: float, seen: int, gfid: float, **fields: Any) -> dict[str, Any]:
    return event(
        "evaluation",
        time,
        images_seen=seen,
        protocol=fields.get("protocol", "digits"),
        values={"evaluation/gfid": gfid, "evaluation/gfid_standard_error": 0.1},
    )


def test_a_run_that_was_killed_once_and_ended():
    found = told(*killed_once(), total=200)
    assert (found.name, found.url, found.state) == ("one", "runs/one", "ended")
    assert (found.attempt, found.restarts, found.images_seen) == (2, 1, 200)
    assert (found.started, found.last_event, found.last_report) == (105.0, 161.0, 152.0)
    assert found.goodput == values(account(killed_once()))
    assert found.checkpoint is not None
    assert (found.checkpoint.images_seen, found.checkpoint.time) == (50, 123.5)
    assert found.values["throughput/update_s"] == 1.0
    assert found.counts["report"] == 4


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (event("driver_started", 1.0, 0), "waiting"),
        (event("attempt_started", 1.0), "running"),
        (event("worker_failed", 1.0, 0, rank=0), "waiting"),
        (event("failure_decided", 1.0, 0, action="again", cause="crash"), "waiting"),
        (event("failure_decided", 1.0, 0, action="stop", cause="numerics"), "failed"),
        (event("attempt_finished", 1.0, outcome="failed", rank=0), "waiting"),
        (event("attempt_finished", 1.0, outcome="finished"), "stopped"),
        (event("run_finished", 1.0, images_seen=10, seconds=1.0), "ended"),
    ],
)
def test_the_state_is_what_was_told_last(last, state):
    assert told(last, total=100).state == state


def test_a_run_whose_images_are_all_seen_waits_for_its_evaluations():
    done = (
        event("report", 1.0, images_seen=100, values={}),
        event("attempt_finished", 2.0, outcome="finished"),
    )
    assert told(*done, total=100).state == "waiting"


def test_a_run_that_has_been_silent_for_long_is_stopped_and_an_ended_one_stays_ended():
    last = event("report", 100.0, images_seen=1, values={})
    assert told(last, now=100.0 + SILENCE_S).state == "running"
    assert told(last, now=101.0 + SILENCE_S).state == "stopped"
    slow = [event("report", at, images_seen=1, values={}) for at in (0.0, 1000.0)]
    assert told(*slow, now=5500.0).state == "running"
    assert told(*killed_once(), now=1e9).state == "ended"


def test_what_a_lost_attempt_still_says_changes_nothing():
    late = event("report", 153.0, 1, images_seen=70, values={"loss/total": 9.0})
    found = told(*killed_once()[:-3], late)
    assert (found.images_seen, found.attempt, found.state) == (200, 2, "running")
    assert "loss/total" not in found.values


def test_evaluations_come_in_order_of_images_with_what_still_waits():
    found = told(
        event("evaluation_requested", 1.0, images_seen=10),
        event("evaluation_requested", 2.0, images_seen=20),
        event("evaluation_requested", 3.0, images_seen=30),
        evaluation(4.0, 20, 3.0),
        evaluation(5.0, 10, 2.0),
    )
    assert [one.images_seen for one in found.evaluations] == [10, 20]
    assert found.evaluations_waiting == {30: 3.0}
    assert found.newest("evaluation/gfid") == (3.0, 0.1)
    assert found.best("evaluation/gfid") == 2.0
    assert found.newest("evaluation/rfid") is None
    assert found.best("evaluation/rfid") is None


def test_time_times_workers_of_all_attempts():
    found = told(
        event("attempt_started", 0.0, 1, workers=4),
        event("first_update", 10.0, 1, images_seen=1),
        event("attempt_started", 10.0, 2, workers=2),
        event("first_update", 15.0, 2, images_seen=1),
    )
    assert found.worker_seconds == 4 * 10.0 + 2 * 5.0
    assert found.workers == 2


def test_events_that_lack_what_they_should_have_are_counted_and_hide_nothing():
    found = told(event("report", 1.0), event("report", 2.0, images_seen=5, values={}))
    assert found.images_seen == 5
    assert found.counts["unreadable"] == 1


def test_failures_are_counted_by_cause():
    found = told(*(event("failure_decided", 1.0, 0, cause=c) for c in ("crash", "crash", "node")))
    assert found.failures == {"crash": 2, "node": 1}
