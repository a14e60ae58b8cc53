"""Runs whose disturbances are known: foreseen by the simulation, and added up by hand."""

from dataclasses import replace

import pytest

from system.observe.goodput.costs import Costs
from system.observe.goodput.schedule import Life
from system.observe.goodput.schedule import Schedule
from system.observe.goodput.schedule import foreseen
from system.observe.goodput.schedule import lives

COSTS = Costs(
    stall_s=0.5, upload_s=1.0, detection_s=2.0, start_up_s=10.0, launch_s=20.0, closing_s=30.0
)


def test_lives_lie_between_what_ends_them():
    schedule = Schedule(minutes=10.0, kills=(6.0, 2.0, 11.0), resizes=(4.0,))
    assert list(lives(schedule, 2.0)) == [Life(120.0, False), Life(118.0, True), Life(118.0, False)]


def test_what_ends_a_run_that_has_not_noticed_the_end_before_is_no_life_of_its_own():
    schedule = Schedule(minutes=10.0, kills=(2.0, 2.01))
    assert [life.length_s for life in lives(schedule, 2.0)] == [120.0, 0.0]


def test_a_schedule_is_what_its_parts_come_to():
    schedule = Schedule(minutes=10.0, kills=(2.0,), resizes=(5.0,), interval_s=20.0)
    found = foreseen(schedule, COSTS)
    # Killed after 100 s of training and saves: four whole cycles of 20.5 s, of which all are saved.
    assert found.replayed[0] == pytest.approx(100 - 4 * 20.5)
    assert found.start_up[0] == pytest.approx(20 + 2 * 10)
    assert found.detection[0] == pytest.approx(2 * 2)
    assert found.evaluation[0] == 0
    assert found.wall[0] == pytest.approx(600)
    assert found.failures[0] == 2


def test_a_resize_costs_nothing_that_was_trained():
    resized = foreseen(Schedule(minutes=10.0, resizes=(5.0,), interval_s=20.0), COSTS)
    killed = foreseen(Schedule(minutes=10.0, kills=(5.0,), interval_s=20.0), COSTS)
    assert resized.replayed[0] == 0 < killed.replayed[0]
    assert resized.start_up[0] == killed.start_up[0]


def test_without_costs_and_ends_all_of_it_is_productive():
    free = replace(COSTS, stall_s=0.0, upload_s=0.0, launch_s=0.0)
    assert foreseen(Schedule(minutes=1.0), free).goodput[0] == pytest.approx(1)
