"""What is granted is there: beside what is spent and promised."""

import pytest

from system.campaign.budget import allowance
from system.campaign.budget import expected_s
from system.campaign.budget import is_spent
from system.campaign.budget import promised_s
from system.campaign.budget import seconds_per_image
from system.campaign.budget import spent_s
from tests.system.campaign.campaigns import Told
from tests.system.campaign.campaigns import campaign
from tests.system.campaign.campaigns import done

LIMITS = {"gpu_hours": 1.0, "grace_s": 50.0}


def test_without_a_limit_nothing_is_counted():
    told = Told(campaign())
    told.observe()
    assert allowance(told.standing, 10**9).seconds is None
    assert not is_spent(told.standing)


def test_until_the_pace_is_known_one_job_has_all():
    told = Told(campaign(limits=LIMITS), gpus_per_job=2.0)
    assert allowance(told.standing, 100).seconds == 3600 / 2 - 50
    told.observe()
    assert len(told.standing.open_jobs) == 1
    assert allowance(told.standing, 1) is None
    assert promised_s(told.standing) == pytest.approx(3600.0)


def test_the_pace_is_measured_and_told_before():
    told = Told(campaign(limits=LIMITS | {"images_per_s": 0.5}))
    assert expected_s(told.standing, 100) == 200.0
    assert allowance(told.standing, 100).seconds == 300.0
    told.observe()
    first, _ = told.standing.open_jobs
    told.observe(done(first, 1.0, seconds=70.0))
    assert seconds_per_image(told.standing) == 0.7
    assert spent_s(told.standing) == 70.0
    assert allowance(told.standing, 10**6) is None


def test_hours_that_are_gone_end_it():
    told = Told(campaign(limits=LIMITS))
    told.observe()
    (only,) = told.standing.open_jobs
    told.observe(done(only, 1.0, seconds=3600.0))
    assert is_spent(told.standing)
    assert told.standing.closed.reason == "its budget is spent"
