"""The soak's plan and its verdicts, and a soak of minutes through the real command."""

from itertools import pairwise
from pathlib import Path

import pytest

from system.foundation.errors import ExitCode
from system.observe.goodput.costs import ASSUMED
from system.observe.goodput.schedule import foreseen
from system.telemetry.goodput import account
from system.telemetry.ledger import read_ledger
from tests.faults.soak import Disturbance
from tests.faults.soak import Schedule
from tests.faults.soak import plan
from tests.faults.soak import schedule
from tests.faults.soak_report import beside
from tests.system.launch.conftest import start_program
from tests.system.telemetry.histories import killed_once


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_kills_and_resizes_once_each_in_its_part_of_the_run(seed: int) -> None:
    planned = plan(60.0, 3, seed)
    assert plan(60.0, 3, seed) == planned != plan(60.0, 3, seed + 1)
    assert [one.act for one in planned].count("kill") == 3
    (resize,) = (number for number, one in enumerate(planned) if one.act == "resize")
    assert resize in (2, 3)
    times = [0.0, *(one.at_s for one in planned), 3600.0]
    # No two within a quarter of a part, so that none meets the start after the one before.
    assert all(other - one > 120.0 for one, other in pairwise(times))


def test_a_schedule_says_what_a_plan_does() -> None:
    planned = [Disturbance(60.0, "kill"), Disturbance(90.0, "resize"), Disturbance(120.0, "kill")]
    said = schedule(3.0, planned, 20.0)
    assert said == Schedule(minutes=3.0, kills=(1.0, 2.0), resizes=(1.5,), interval_s=20.0)


def test_every_cause_stands_beside_what_was_foreseen() -> None:
    spent, trial = account(killed_once()), foreseen(Schedule(minutes=5.0), ASSUMED)
    lines = [line.split() for line in beside(spent, trial).splitlines()[1:]]
    assert [float(measured) for _, measured, _ in lines] == pytest.approx(
        [spent.seconds(name) for name, _, _ in lines], abs=0.06
    )
    assert sum(float(expected) for *_, expected in lines) == pytest.approx(300, abs=0.5)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.by_hand
@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_soak_of_minutes_tells_what_it_came_to(tmp_path: Path) -> None:
    job = start_program(
        "jobs/soak.py", f"out={tmp_path}", "minutes=2.5", "kills=1", "calibration_minutes=2.5",
        "checkpoint_every_images=640", "report_every_images=64",
        'changes=["flow.width=32", "autoencoder.width=8"]',
    )  # fmt: skip
    said, _ = job.communicate(timeout=900)
    # Minutes are too few for 95 %; whatever else was missed is none of the weather's doing.
    assert job.returncode == ExitCode.FAILED, said
    assert "MISSED goodput" in said
    assert "holds  every image is accounted for" in said
    assert "holds  workers were killed 1 times and resized 1 times" in said
    assert "foreseen: goodput" in (tmp_path / "forecast.txt").read_text("utf-8")
    events = read_ledger(str(tmp_path / "runs" / "soak"))
    started = [each["workers"] for each in events if each["kind"] == "attempt_started"]
    assert started[0] == 1
    assert max(started) == 2
    assert 2.2 * 60 < account(events).wall_s < 2.8 * 60
