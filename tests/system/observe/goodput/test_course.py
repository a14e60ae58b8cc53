"""A run's course out of its ledger."""

import pytest

from system.observe.goodput.course import course
from tests.system.telemetry.histories import event
from tests.system.telemetry.histories import killed_once


def test_the_course_of_a_run():
    saves = [event("checkpoint", 150.0 + i, 2, images_seen=100 + 50 * i) for i in range(3)]
    found = course([*killed_once(), *saves])
    assert found.interval_images == 50
    assert found.training_s == pytest.approx(17.75 / (1 - 1.25 / 20.0))
    assert found.interval_s == pytest.approx(found.training_s / 4)
    assert found.lives_s == pytest.approx((18.0 + 7.0,))  # from the first process to the last sign


@pytest.mark.parametrize("count", [0, 5, 18])
def test_without_two_saves_there_is_none(count):
    assert course(killed_once()[:count]) is None
