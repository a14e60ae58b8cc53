"""The forecast: a row for every cluster, and what is in the way where it falls short."""

from dataclasses import replace

import pytest

from system.foundation.errors import BadInput
from system.observe.goodput.costs import ASSUMED
from system.observe.goodput.forecast import Forecasting
from system.observe.goodput.forecast import answer
from system.observe.goodput.forecast import in_the_way
from system.observe.goodput.forecast import prediction
from system.observe.goodput.forecast import row
from system.observe.goodput.forecast import table
from system.observe.goodput.forecast import told_costs
from system.observe.goodput.forecast import verdicts
from system.observe.goodput.schedule import Schedule
from system.telemetry.goodput import account
from system.telemetry.ledger import Ledger
from tests.system.telemetry.histories import event
from tests.system.telemetry.histories import killed_once

SMALL = Forecasting(gpus=(8, 16384), days=4, trials=20)


def test_a_row_is_near_the_closed_form_and_its_parts_are_shares():
    found = row(SMALL, ASSUMED, "Meta", 1024)
    low, high = found.interval()
    assert low < found.trials.goodput.mean() < high
    assert found.expected == pytest.approx(found.trials.goodput.mean(), abs=0.003)
    losses = found.losses()
    assert list(losses.values()) == sorted(losses.values(), reverse=True)
    total = found.trials.goodput.mean() + sum(losses.values())
    assert total == pytest.approx(1.0, abs=1e-9)


def test_where_the_bar_is_missed_the_cost_in_the_way_is_named():
    slow = replace(ASSUMED, start_up_s=900.0)
    rows = [row(SMALL, slow, "Meta", gpus) for gpus in (8, 16384)]
    (told,) = verdicts(slow, rows, 0.97)
    assert "97% is reached at 8 GPUs" in told
    assert "16,384: start_up_s is in the way: without it" in told
    assert in_the_way(replace(ASSUMED, upload_s=3000.0), rows[1]).startswith("upload_s")
    assert "|\n| Meta | 16,384 | 1.8 h |" in table(rows)


def test_costs_are_told_with_where_they_come_from():
    request = Forecasting(costs={"stall_s": 4.0})
    told = told_costs(replace(ASSUMED, stall_s=4.0, detection_s=6.0), request, killed_once())
    assert "stall_s             4.00 s  given" in told
    assert "detection_s         6.00 s  measured" in told
    assert "upload_s           60.00 s  assumed" in told


def test_what_a_run_came_to_is_predicted_from_its_costs_and_failures():
    saves = [
        event("checkpoint", 123.5 + 30 * i, 1 + i, images_seen=50 + 50 * j, upload_s=0.5)
        for i in range(2)
        for j in range(1 + i, 2 + i)
    ]
    events = [*killed_once(), *saves, event("checkpoint", 151.0, 2, images_seen=150)]
    found, came_to = prediction(events), account(events).goodput
    assert found == pytest.approx(came_to, abs=0.08)
    assert prediction([]) is None


def test_the_answer_of_a_run_compares_and_of_none_says_so(tmp_path):
    with Ledger(str(tmp_path), "worker-0", run="r", attempt=1) as ledger:
        ledger.write("attempt_started")
        ledger.write("first_update", images_seen=8, seconds=0.1, data_wait_s=0.0)
        for seen in (16, 32):
            ledger.write("checkpoint", images_seen=seen, upload_s=0.25)
            ledger.write("report", images_seen=seen, values={"throughput/update_s": 1.0})
        ledger.write("attempt_finished", outcome="finished")
    told = answer(SMALL.model_copy(update={"run": str(tmp_path)}))
    assert "upload_s            0.25 s  measured" in told
    assert "this run's own course: goodput" in told
    with pytest.raises(BadInput, match="found no ledger"):
        answer(SMALL.model_copy(update={"run": f"{tmp_path}/nothing"}))


def test_a_schedule_is_foreseen():
    schedule = Schedule(minutes=60.0, kills=(20.0,), interval_s=60.0)
    request = Forecasting(gpus=(8,), days=1, trials=2, costs={"upload_s": 1.0}, schedule=schedule)
    # Of 3,600 s two starts of 120, a detection of 30, and 26 replayed, and 53 stalls of 2.
    assert "the schedule: goodput 88.83% of 3,600 s" in answer(request)
