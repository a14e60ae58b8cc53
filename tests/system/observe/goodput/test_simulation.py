"""Simulated runs: by hand where one can, and against the closed form where one cannot."""

from dataclasses import fields
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from system.observe.goodput.costs import Costs
from system.observe.goodput.interval import best_s
from system.observe.goodput.interval import expected_goodput
from system.observe.goodput.interval import young_s
from system.observe.goodput.simulation import known_lives
from system.observe.goodput.simulation import random_lives
from system.observe.goodput.simulation import simulate

COSTS = Costs(
    stall_s=2.0, upload_s=5.0, detection_s=7.0, start_up_s=10.0, launch_s=20.0, closing_s=3.0
)
DAY = 86400.0


def parts(trials):
    return {field.name: float(getattr(trials, field.name)[0]) for field in fields(trials)}


def test_an_undisturbed_run():
    # 200 s of training saved at 50, 100, 150; the save at the end is part of the closing.
    found = simulate(COSTS, 50.0, 200.0, known_lives())
    assert parts(found) == {
        "productive": 200.0, "replayed": 0.0, "checkpoint": 6.0, "data_wait": 0.0,
        "evaluation": 3.0, "start_up": 20.0, "detection": 0.0, "failures": 0.0,
    }  # fmt: skip
    assert found.wall[0] == 229.0


def test_what_ends_as_announced_loses_no_training():
    # Ends 30 s after its second save, 110 s of training in; without a save there is 50 s of it.
    lives = known_lives(20.0 + 110.0 + 2 * 2.0)
    announced = simulate(COSTS, 50.0, 200.0, lives, announced=[0])
    surprised = simulate(COSTS, 50.0, 200.0, lives)
    assert (announced.replayed[0], surprised.replayed[0]) == (0.0, 10.0)
    assert announced.failures[0] == surprised.failures[0] == 1
    assert announced.start_up[0] == 20.0 + 10.0


@pytest.mark.parametrize(
    ("lives", "replayed", "stood", "started"),
    [
        # Cycles of 52 s after a start of 20 s: a commit at 20 + 52 + 5 = 77 s.
        ((76.9,), 50.0 + 4.9, 2.0 + 6.0, 30.0),
        ((77.0,), 5.0, 2.0 + 4.0, 30.0),
        ((71.0,), 50.0, 1.0 + 6.0, 30.0),  # during the save itself
        ((15.0,), 0.0, 6.0, 15.0 + 10.0),  # before the first update
        ((77.0, 9.0, 12.0), 5.0 + 2.0, 2.0 + 4.0, 20.0 + 9.0 + 10.0 + 10.0),
    ],
)
def test_a_failure_costs_what_was_not_committed(lives, replayed, stood, started):
    found = parts(simulate(COSTS, 50.0, 200.0, known_lives(*lives)))
    assert found["replayed"] == pytest.approx(replayed)
    assert found["checkpoint"] == pytest.approx(stood)
    assert found["start_up"] == pytest.approx(started)
    assert found["detection"] == 7.0 * len(lives)
    assert found["productive"] == 200.0


def test_an_upload_that_is_slower_than_the_interval_holds_the_loop_up():
    slow = replace(COSTS, upload_s=80.0)
    assert parts(simulate(slow, 50.0, 200.0, known_lives()))["checkpoint"] == 3 * 30.0


def test_waits_for_data_are_told_apart():
    found = parts(simulate(replace(COSTS, data_wait_share=0.1), 50.0, 200.0, known_lives(77.0)))
    assert found["data_wait"] == pytest.approx(0.1 * 205.0)
    assert found["productive"] == pytest.approx(180.0)
    assert found["replayed"] == pytest.approx(4.5)


@pytest.mark.parametrize("failure_s", [1800.0, 6480.0, 28440.0])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_long_runs_come_to_the_closed_form(failure_s, factor):
    costs = Costs(2.0, 60.0, 30.0, 120.0, 120.0, 0.0, 0.01)
    interval_s = factor * best_s(costs, failure_s)
    lives = random_lives(0, "test", 100, failure_s)
    goodput = simulate(costs, interval_s, 20 * DAY, lives).goodput
    error = goodput.std() / np.sqrt(len(goodput))
    # Four standard errors, and the ends of a run that does end: a start and a failure of 20 days.
    within = 4 * error + 2 * (costs.start_up_s + interval_s) / (20 * DAY)
    assert abs(goodput.mean() - expected_goodput(costs, interval_s, failure_s)) < within


def test_the_best_interval_of_cheap_failures_is_youngs():
    costs, failure_s = Costs(3.0, 0.0, 0.0, 0.0, 0.0, 0.0), 20000.0
    lives = random_lives(1, "young", 64, failure_s)
    young = young_s(3.0, failure_s)
    factors = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
    means = [simulate(costs, f * young, 60 * DAY, lives).goodput.mean() for f in factors]
    assert factors[int(np.argmax(means))] in (0.7, 1.0, 1.4)
    assert means[0] < means[1] < means[3] > means[5] > means[6]


def test_failures_are_a_function_of_the_seed():
    def lives(seed):
        return random_lives(seed, "s", 3, 100.0)

    assert np.array_equal(lives(0)(5), lives(0)(5))
    assert not np.array_equal(lives(0)(5), lives(1)(5))
    assert not np.array_equal(lives(0)(5), lives(0)(6))
    # More trials leave those before them as they were.
    assert np.array_equal(random_lives(0, "s", 9, 100.0)(5)[:3], lives(0)(5))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0, 500), max_size=6), st.floats(1, 300), st.floats(1, 600), st.floats(0, 99)
)
def test_no_life_is_counted_twice(lives, interval_s, training_s, upload_s):
    costs = replace(COSTS, upload_s=upload_s)
    found = simulate(costs, interval_s, training_s, known_lives(*lives))
    values = parts(found)
    assert all(value >= -1e-9 for value in values.values()), values
    assert values["productive"] == pytest.approx(training_s)
    # Every life that was cut short has its whole length somewhere, and its detection.
    cut = sum(lives[: int(values["failures"])]) + costs.detection_s * values["failures"]
    assert found.wall[0] >= cut + costs.closing_s - 1e-6
