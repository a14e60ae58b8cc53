"""A forecast is arithmetic on the file, and goes through the windows."""

import pytest

from system.campaign.forecast import end_of
from system.campaign.forecast import forecast
from system.campaign.forecast import forecast_table
from system.campaign.forecast import stages
from system.campaign.forecast import trials_ahead
from tests.system.campaign.campaigns import SPREAD
from tests.system.campaign.campaigns import campaign

MADE = campaign(
    price_per_gpu_hour=3.0, limits={"gpu_hours": 9.0}, confirm={"top": 3, "seeds": [1, 2]}
)


def test_what_runs_is_what_the_file_says():
    assert [(stage.jobs, stage.images_each) for stage in stages(MADE)] == [
        (6, 100), (3, 100), (2, 200), (4, 400),
    ]  # fmt: skip


def test_hours_price_and_end():
    found = forecast(MADE, images_per_s=0.5, gpus_per_job=4.0, parallel=2, now=1000.0)
    images = 600 + 300 + 400 + 1600
    assert found.gpu_hours == pytest.approx(images / 0.5 * 4 / 3600)
    assert found.cost == pytest.approx(3 * found.gpu_hours)
    assert found.running_s == (3 * 100 + 2 * 100 + 200 + 2 * 400) / 0.5
    assert found.end == 1000.0 + found.running_s
    assert found.cost_per_trial[2] == pytest.approx(400 / 0.5 * 4 / 3600 * 3)
    page = forecast_table(MADE, found, "0.5 images/s", trials_ahead(MADE))
    assert "of 9" in page
    assert page.count("trial ") == 6


def test_an_end_waits_for_the_windows():
    night = {"windows": [{"days": ["mon"], "start": "20:00", "end": "21:00"}]}
    made = campaign(schedule=night)
    monday = 1_700_438_400.0
    assert end_of(made, 1800.0, monday) == monday + 20.5 * 3600
    assert end_of(made, 5400.0, monday) == monday + 7 * 86400 + 20.5 * 3600
    closed = campaign(schedule={"windows": [{"days": []}]})
    assert end_of(closed, 60.0, monday) is None


def test_of_a_sampler_that_learns_only_the_start_is_known():
    ranges = {SPREAD: {"linear": [0.1, 1.0]}}
    limits = {"trials": 10}
    learning = campaign(space=ranges, limits=limits, sampler={"kind": "tpe", "startup_trials": 3})
    assert len(trials_ahead(learning)) == 3
    found = forecast(learning, 1.0, 1.0, 1, 0.0)
    assert "and 7 that are chosen" in forecast_table(learning, found, "", trials_ahead(learning))
    random = campaign(space=ranges, limits=limits, sampler={"kind": "random"})
    assert len(trials_ahead(random)) == 10
