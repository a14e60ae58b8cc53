"""Where a campaign stands is what its events say, told once or twice."""

import pytest

from system.campaign.ledger import Ended
from system.campaign.ledger import Observed
from system.campaign.standing import Job
from system.campaign.standing import Standing
from system.campaign.standing import cause_of_end
from system.launch.causes import Cause
from tests.system.campaign.campaigns import Told
from tests.system.campaign.campaigns import campaign
from tests.system.campaign.campaigns import done
from tests.system.campaign.campaigns import failed


def job(**changes):
    return Job("j", "r", 0, 100, 0.0, None, began_at=40, **changes)


@pytest.mark.parametrize(
    ("code", "images_seen", "cause"),
    [
        (2, 40, Cause.CONFIG),
        (3, 40, Cause.NUMERICS),
        (4, 40, Cause.DATA),
        (5, 40, Cause.STORAGE),
        (6, 40, Cause.STALLED),
        (75, 50, Cause.PREEMPTED),
        (75, 40, Cause.STALLED),  # again and again without getting on
        (1, 40, Cause.UNKNOWN),
        (99, 40, Cause.UNKNOWN),
        (130, 40, Cause.LOST),
        (-9, 40, Cause.LOST),
        (None, 40, Cause.LOST),
    ],
)
def test_exit_codes_are_causes(code, images_seen, cause):
    ended = Ended(job="j", exit_code=code, seconds=1.0, images_seen=images_seen, value=None)
    assert cause_of_end(job(), ended) is cause
    assert cause_of_end(job(paused=1.0), ended) is Cause.PREEMPTED


def test_an_end_that_is_seen_twice_counts_once():
    told = Told(campaign())
    told.observe()
    first, _ = told.standing.open_jobs
    told.observe(failed(first, 1))
    told.events.append(Observed(time=told.time, capacity=2, ended=(failed(first, 1),)))
    run = told.standing.runs[first.run]
    assert len(run.failures) == 1
    assert told.standing.jobs[first.name].ended.seconds == 5.0


def test_what_running_jobs_have_taken_counts_as_spent():
    told = Told(campaign(), gpus_per_job=4.0)
    told.observe()
    first, _ = told.standing.open_jobs
    told.observe(done(first, 1.0, seconds=7.0))
    assert told.standing.spent_s(told.time) == 4.0 * (7.0 + 10.0)


def test_of_equals_the_earlier_goes_first():
    told = Told(campaign())
    told.observe(capacity=6)
    told.observe(*(done(each, 1.0) for each in told.standing.open_jobs), capacity=6)
    kept = [run.trial for run in told.standing.on_rung]
    assert kept == list(told.standing.trials)[:3]


def test_no_events_are_no_campaign():
    standing = Standing([])
    assert standing.began is None
    assert standing.open_jobs == standing.given_up == standing.on_rung == []
