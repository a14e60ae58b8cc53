"""Runs and campaigns as samples."""

from typing import Any

import pytest

from system.launch.causes import Cause
from system.observe.exporter.samples import KNOWN_CAUSES
from system.observe.exporter.samples import Sample
from system.observe.exporter.samples import evaluations_since_best
from system.observe.exporter.samples import of_campaign
from system.observe.exporter.samples import of_run
from system.observe.leaderboard import Leaderboard
from system.observe.leaderboard import Row
from system.observe.run_view import Evaluated
from system.observe.run_view import Story
from tests.system.telemetry.histories import event
from tests.system.telemetry.histories import killed_once


def samples(events: list[dict[str, Any]], now: float, price: float | None = None) -> dict[Any, Any]:
    story = Story("runs/r")
    story.take(events)
    return {key(each): each.value for each in of_run(story.view(now), now, price)}


def key(sample: Sample) -> Any:
    """Its name, with the values of labels that do not say what it belongs to."""
    others = [v for k, v in sample.labels.items() if k not in ("campaign", "run")]
    return (sample.name, *others) if others else sample.name


def evaluated(*gfids: float, error: float = 0.0) -> list[Evaluated]:
    return [
        Evaluated(i, 0.0, "p", {"evaluation/gfid": g, "evaluation/gfid_standard_error": error}, "")
        for i, g in enumerate(gfids)
    ]


def test_of_a_run_that_goes_on():
    found = samples(killed_once()[:-4], now=150.0, price=3600.0)
    assert found["run/state", "running"] == 1.0
    assert found["run/state", "ended"] == 0.0
    assert found["run/stalled_s"] == 8.0
    assert found["run/checkpoint_age_s"] == 26.5
    assert found["run/restarts"] == 1
    assert found["run/evaluations_waiting"] == 0
    assert found["run/events", "worker_failed"] == 1
    assert found["run/events", "hang"] == 0
    assert found["run/cost_usd"] == pytest.approx(found["run/worker_hours"] * 3600)
    assert found["report/images_seen"] == found["run/images_seen"] == 100
    assert found["goodput/replayed_s"] > 0


def test_of_a_run_that_is_over_nothing_grows_old():
    found = samples(killed_once(), now=1e6)
    assert found["run/stalled_s"] == found["run/checkpoint_age_s"] == 0.0
    assert found["run/state", "ended"] == 1.0
    assert "run/cost_usd" not in found


def test_a_run_that_has_fallen_silent_goes_on_ageing():
    found = samples(killed_once()[:-4], now=1e6)
    assert found["run/state", "stopped"] == 1.0
    assert found["run/stalled_s"] > 9e5


def test_waiting_evaluations_have_an_age_and_a_lag():
    found = samples(
        [
            event("checkpoint", 1.0, images_seen=10),
            event("evaluation_requested", 2.0, images_seen=10),
            event("checkpoint", 11.0, images_seen=30),
            event("evaluation_requested", 12.0, images_seen=30),
            event("evaluation", 20.0, images_seen=10, values={"evaluation/gfid": 1.0}),
        ],
        now=22.0,
    )
    assert found["run/evaluation_waiting_s"] == 10.0
    assert found["run/evaluation_lag_images"] == 20
    assert found["run/checkpoint_interval_s"] == 10.0
    assert found["evaluation/gfid"] == found["run/best_gfid"] == 1.0
    assert found["evaluation/images_seen"] == 10


@pytest.mark.parametrize(
    ("gfids", "error", "count"),
    [
        ((), 0.0, 0),
        ((3.0,), 0.0, 0),
        ((3.0, 2.0, 1.0), 0.0, 0),
        ((1.0, 2.0, 3.0), 0.0, 2),
        ((1.0, 9.0, 1.1), 0.1, 0),
        ((1.0, 1.1, 9.0), 0.1, 1),
    ],
)
def test_evaluations_since_the_best_count_what_is_certainly_worse(gfids, error, count):
    assert evaluations_since_best(evaluated(*gfids, error=error)) == count


def board(**changed: Any) -> Leaderboard:
    rows = (
        Row(trial="a", run="c-a", overrides={}, state="done", rung=1, images_seen=20, value=1.0,
            error=0.1, confirmed_value=1.2, confirmed_error=0.2),
        Row(trial="b", run="c-b", overrides={}, state="stopped", rung=0, images_seen=10, value=2.0),
    )  # fmt: skip
    known: dict[str, Any] = {
        "campaign": "c", "objective": "evaluation/gfid", "direction": "min", "state": "running",
        "trials": rows, "gpu_hours_spent": 3.0, "gpu_hours_limit": 4.0, "cost_spent": 5.0,
        "cost_limit": None, "rungs": (10, 20), "updated": 100.0,
    }  # fmt: skip
    return Leaderboard(**(known | changed))


def test_of_a_campaign():
    found = {key(each): each for each in of_campaign(board(), now=160.0)}
    assert found["campaign/silent_s"].value == 60.0
    assert found["campaign/trials", "done"].value == 1
    assert found["campaign/rung_trials", "0"].value == 2
    assert found["campaign/rung_trials", "1"].value == 1
    assert found["campaign/rung_images", "1"].value == 20
    assert found["campaign/value", "b"].value == 2.0
    assert found["campaign/value", "b"].labels["run"] == "c-b"
    assert found["campaign/confirmed_error", "a"].value == 0.2
    assert ("campaign/error", "b") not in found
    assert "campaign/cost_limit" not in found
    assert found["campaign/gpu_hours_limit"].value == 4.0


@pytest.mark.parametrize("state", ["complete", "closed: budget", "stopped"])
def test_a_campaign_that_is_over_is_not_silent(state):
    found = {each.name: each for each in of_campaign(board(state=state), now=1e6)}
    assert found["campaign/silent_s"].value == 0.0


def test_failures_of_every_cause_are_counted_from_zero():
    assert set(KNOWN_CAUSES) == set(Cause)
    found = samples([event("failure_decided", 1.0, 0, cause="lost")], now=2.0)
    assert found["run/failures", "lost"] == 1
    assert found["run/failures", "numerics"] == 0
