"""A run's course out of its ledger."""

from dataclasses import replace

import pytest

from system.observe.goodput.costs import ASSUMED
from system.observe.goodput.course import Course
from system.observe.goodput.course import course
from tests.system.telemetry.histories import event
from tests.system.telemetry.histories import killed_once


def test_the_course_of_a_run():
    saves = [event("checkpoint", 150.0 + i, 2, images_seen=100 + 50 * i) for i in range(3)]
    found = course([*killed_once(), *saves])
    assert found.interval_images == 50
    assert found.training_s == pytest.approx(17.75 / (1 - 1.25 / 20.0))
    assert found.interval_s == pytest.approx(found.training_s / 4)
    assert found.lost_images == (70,)


def test_an_attempt_that_stood_by_had_saved():
    saves = [event("checkpoint", 150.0 + i, 2, images_seen=100 + 50 * i) for i in range(3)]
    stood = event("standing_by", 125.5, images_seen=70, cause="resize")
    assert course([*killed_once(), *saves]).announced == ()
    assert course([*killed_once(), *saves, stood]).announced == (0,)


def test_a_life_is_as_long_as_its_images_take_at_the_mean_pace():
    found = Course(400.0, 100.0, 50, (70, 50, 10))
    costs = replace(ASSUMED, launch_s=30.0, start_up_s=20.0, stall_s=2.0)
    # A save after each fifty images stops the loop: at the second failure it has just begun to.
    assert found.lives_s(costs) == [30.0 + 140.0 + 2.0, 20.0 + 100.0 + 2.0, 20.0 + 20.0]


@pytest.mark.parametrize("count", [0, 5, 18])
def test_without_two_saves_there_is_none(count):
    assert course(killed_once()[:count]) is None
