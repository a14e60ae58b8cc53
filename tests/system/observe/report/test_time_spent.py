import re

import pytest

from system.observe.report.folder import RunFolder
from system.observe.report.time_spent import COLUMNS
from system.observe.report.time_spent import MOST_ATTEMPTS
from system.observe.report.time_spent import columns
from system.observe.report.time_spent import picture
from system.observe.report.time_spent import time_spent
from system.telemetry.attribution import CAUSES
from system.telemetry.goodput import account
from tests.system.telemetry.histories import event
from tests.system.telemetry.histories import killed_once


def run(events) -> RunFolder:
    return RunFolder("runs/x", events, (), {}, {}, None, (), ())


def test_the_account_of_a_run_stands_in_picture_and_tables():
    told = time_spent(run(killed_once()))
    assert "New images were trained on for 29.1% of 1:01." in told
    rows = dict(re.findall(r'</span>([a-z -]+)<small>.*?<td class="n">([\d.,]+)</td>', told))
    assert rows["productive"] == "17.8"
    assert rows["start-up"] == "25.0"
    assert "driver" not in told.partition("</p>")[0]
    assert "<tr><td>2</td>" in told


def test_a_run_that_has_told_nothing_has_no_section():
    assert time_spent(run([])) == ""
    assert time_spent(run([event("attempt_started", 5.0)])) == ""


@pytest.mark.parametrize("count", [1, 7, 150, 1000])
def test_columns_hold_the_whole_time(count):
    spent = account(killed_once())
    found = columns(spent.stretches, count)
    assert len(found) == count
    width = spent.wall_us / count
    for each in found:
        assert sum(each.values()) == pytest.approx(width, abs=8)
    for cause in CAUSES:
        assert sum(each[cause] for each in found) == pytest.approx(
            spent.parts_us()[cause], abs=count
        )


def test_the_picture_stacks_every_column_to_its_full_height_and_marks_restarts():
    drawn = picture(account(killed_once()))
    heights: dict[str, float] = {}
    for across, height in re.findall(
        r'x="([\d.]+)" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', drawn
    ):
        heights[across] = heights.get(across, 0.0) + float(height)
    assert len(heights) == COLUMNS
    assert all(height == pytest.approx(176.0, abs=0.5) for height in heights.values())
    assert drawn.count("attempt 2 began here") == 1
    assert "attempt 1 began here" not in drawn
    assert 'class="key s-idle"' not in drawn  # nothing of it


def test_of_very_many_attempts_the_last_are_shown():
    events = [event("attempt_started", 10.0 * n, n) for n in range(1, MOST_ATTEMPTS + 7)]
    told = time_spent(run(events))
    assert "5 earlier attempts are left out here" in told
    assert told.count("<tr><td>") == MOST_ATTEMPTS + len(CAUSES)


def test_time_without_a_driver_is_told():
    later = event("driver_started", 300.0, 0, process_started=261.0)
    assert "8.9% of 3:20 (17.8% of the time that it had a driver)" in time_spent(
        run([*killed_once(), later])
    )
