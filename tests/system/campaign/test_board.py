"""The leaderboard says where a campaign stands, in numbers and words."""

import pytest

from system.campaign.board import confirmed
from system.campaign.board import leaderboard
from system.campaign.board import run_state
from system.campaign.board import state_of
from system.campaign.ledger import Stopped
from tests.system.campaign.campaigns import SPREAD
from tests.system.campaign.campaigns import Told
from tests.system.campaign.campaigns import campaign
from tests.system.campaign.campaigns import done
from tests.system.campaign.campaigns import failed


def test_while_it_runs():
    made = campaign(price_per_gpu_hour=2.0, limits={"cost": 8.0, "images_per_s": 10.0})
    told = Told(made, gpus_per_job=4.0)
    told.observe()
    first, second = told.standing.open_jobs
    told.observe(done(first, 1.5, seconds=900.0), failed(second, 2))
    board = leaderboard(told.standing, told.time)
    assert board.state == "running"
    assert board.gpu_hours_spent == pytest.approx(4 * 905 / 3600)
    assert (board.cost_spent, board.cost_limit) == (pytest.approx(2 * 4 * 905 / 3600), 8.0)
    assert board.trials[0].value == 1.5
    assert [row.state for row in board.trials[:1]] == ["measured"]
    assert {row.state for row in board.trials} == {"measured", "given up", "running"}
    told.add(Stopped(time=told.time))
    assert state_of(told.standing) == "stopped"
    assert "pausing" in {run_state(run) for run in told.standing.runs.values()}


def test_the_confirmed_value_is_the_mean_over_fresh_seeds():
    told = Told(campaign(confirm={"top": 2, "seeds": [1, 2]}))
    seeds = {None: 0.0, 1: 0.2, 2: 0.4}

    def value(job):
        run = told.standing.runs[job.run]
        return told.standing.trials[run.trial].overrides[SPREAD] + seeds[run.seed]

    told.run_out(value, capacity=1)
    best, second, third = leaderboard(told.standing, told.time).trials[:3]
    assert best.confirmed_value == pytest.approx(0.3 + 0.3)
    assert best.confirmed_error == pytest.approx(0.1)
    assert second.confirmed_value is not None
    assert third.confirmed_value is None
    assert confirmed(told.standing, third.trial) is None
    assert state_of(told.standing) == "complete"


def test_outside_of_its_windows_it_waits():
    night = {"windows": [{"start": "20:00", "end": "07:00"}]}
    told = Told(campaign(schedule=night), time=12 * 3600.0)
    told.observe()
    assert state_of(told.standing) == "waiting for its window"
