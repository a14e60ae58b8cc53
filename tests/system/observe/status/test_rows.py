import json

import pytest

from system.observe.leaderboard import Leaderboard
from system.observe.run_view import Evaluated
from system.observe.run_view import RunView
from system.observe.run_view import SavedCheckpoint
from system.observe.status.rows import MOST_SPARKS
from system.observe.status.rows import board_content
from system.observe.status.rows import run_row

GFID = "evaluation/gfid"


def test_a_row_has_the_newest_gfid_with_its_spread_and_the_seconds_by_cause():
    values = {GFID: 3.0, f"{GFID}_standard_error": 0.1}
    run = RunView(
        name="a",
        url="runs/a",
        state="running",
        restarts=2,
        images_seen=50,
        total_images=100,
        values={"throughput/images_per_s": 120.0},
        goodput={"goodput/share": 0.8, "goodput/productive_s": 80.0, "goodput/detection_s": 20.0},
        checkpoint=SavedCheckpoint(48, 7.0, "x"),
        evaluations=(
            Evaluated(10, 1.0, "p", {GFID: 2.0}, None),
            Evaluated(20, 2.0, "p", values, None),
        ),
    )
    row = run_row(run)
    assert (row["gfid"], row["gfid_best"], row["gfid_course"]) == (3.0, 2.0, [2.0, 3.0])
    assert row["gfid_spread"] == pytest.approx(0.196, abs=1e-3)
    assert (row["rate"], row["goodput"], row["restarts"]) == (120.0, 0.8, 2)
    assert row["causes"] == {"productive": 80.0, "detection": 20.0}
    json.dumps(row, allow_nan=False)


def test_a_run_of_which_nothing_is_known_yet_is_a_row_too():
    row = run_row(RunView(name="a", url="runs/a", state="ended", values={}))
    assert (row["gfid"], row["rate"], row["goodput"], row["heard"]) == (None, None, None, None)


def test_a_long_course_is_short_in_a_row():
    evaluations = tuple(Evaluated(i, 1.0, "p", {GFID: float(i)}, None) for i in range(500))
    course = run_row(RunView(name="a", url="a", evaluations=evaluations))["gfid_course"]
    assert len(course) == MOST_SPARKS
    assert (course[0], course[-1]) == (0.0, 499.0)


def test_a_campaign_is_what_its_leaderboard_says():
    board = Leaderboard(
        campaign="c", objective=GFID, direction="min", state="running", trials=(),
        gpu_hours_spent=1, gpu_hours_limit=None, cost_spent=0, cost_limit=None, rungs=(10, 20),
        updated=1.0,
    )  # fmt: skip
    assert board_content(board)["rungs"] == [10, 20]
