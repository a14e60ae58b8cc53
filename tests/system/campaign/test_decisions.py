"""What is decided: as tables, and over random histories, of which none may break a limit."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from system.campaign.budget import spent_s
from system.campaign.decisions import next_decision
from system.campaign.decisions import replay
from system.campaign.ledger import Closed
from system.campaign.ledger import Confirming
from system.campaign.ledger import GivenUp
from system.campaign.ledger import Killed
from system.campaign.ledger import Launched
from system.campaign.ledger import Paused
from system.campaign.ledger import Promoted
from system.campaign.ledger import Proposed
from system.campaign.ledger import Resumed
from system.campaign.ledger import Stopped
from tests.system.campaign.campaigns import SPREAD
from tests.system.campaign.campaigns import Told
from tests.system.campaign.campaigns import campaign
from tests.system.campaign.campaigns import done
from tests.system.campaign.campaigns import failed

MONDAY = 1_700_438_400.0  # 2023-11-20 00:00 UTC
HOUR = 3600.0


def of(kind, told):
    return [event for event in told.events if isinstance(event, kind)]


def by_spread(told):
    """The smaller the spread of the posterior, the better."""
    return lambda job: told.standing.trials[told.standing.runs[job.run].trial].overrides[SPREAD]


def test_the_best_of_each_rung_go_on_and_the_winner_is_confirmed():
    told = Told(campaign(confirm={"top": 1, "seeds": [7, 8]}))
    told.run_out(by_spread(told))
    standing, promoted = told.standing, of(Promoted, told)
    best = [t for t in standing.trials.values() if t.overrides[SPREAD] == 0.3]
    assert [len(each.kept) for each in promoted] == [3, 2]
    assert set(promoted[1].kept) == {trial.digest for trial in best}
    assert len(promoted[0].values) == 6
    assert of(Confirming, told)[0].runs == {
        f"sweep-{best[0].digest}-seed7": 7,
        f"sweep-{best[0].digest}-seed8": 8,
    }
    assert standing.closed == Closed(time=told.time, reason="all is measured", complete=True)
    assert len(of(Launched, told)) == 6 + 3 + 2 + 2
    assert replay(told.events) == []


def test_nothing_is_decided_before_anything_was_seen():
    told = Told(campaign())
    assert next_decision([]) is None
    assert next_decision(told.events) is None
    assert told.observe(capacity=None) == []
    assert told.observe(capacity=0) == []
    assert [d.kind for d in told.observe(capacity=1)] == ["proposed", "launched"]


def test_a_changed_ledger_does_not_replay():
    told = Told(campaign())
    told.run_out(by_spread(told))
    place = next(i for i, e in enumerate(told.events) if isinstance(e, Promoted))
    worst = told.events[place].model_copy(update={"kept": told.events[place].kept[::-1]})
    told.events[place] = worst
    assert any("event" in line for line in replay(told.events))


@pytest.mark.parametrize(
    ("code", "times"),
    [(2, 1), (3, 1), (4, 1), (1, 3), (None, 3), (-9, 3), (5, 3), (75, 3), (130, 3)],
)
def test_a_failed_job_is_tried_again_as_its_cause_allows(code, times):
    told = Told(campaign(limits={"trials": 1}))
    told.observe()
    for _ in range(times):
        assert not of(GivenUp, told)
        (job,) = told.standing.open_jobs
        told.observe(failed(job, code), seconds=100.0)
        told.observe(seconds=100.0)
    assert len(of(Launched, told)) == times
    assert "its last words" in of(GivenUp, told)[0].reason
    assert of(Closed, told)[0].reason == "no trial has a value"


def test_a_job_that_was_taken_away_goes_on_as_often_as_it_gets_on():
    told = Told(campaign(limits={"trials": 1}))
    told.observe()
    for images in range(10, 90, 10):
        (job,) = told.standing.open_jobs
        told.observe(failed(job, 75, images_seen=images))
    (job,) = told.standing.open_jobs
    assert job.began_at == 80
    assert not of(GivenUp, told)


def test_a_rung_that_was_not_measured_gives_its_run_up():
    told = Told(campaign(limits={"trials": 2}))
    told.observe()
    first, second = told.standing.open_jobs
    told.observe(done(first, None), done(second, 1.0))
    assert of(GivenUp, told)[0].run == first.run
    assert of(Promoted, told)[0].kept == (told.standing.runs[second.run].trial,)


def test_too_many_failures_end_it():
    told = Told(campaign(limits={"trials": 6, "failures": 1}))
    told.observe()
    first, second = told.standing.open_jobs
    told.observe(failed(first, 2), failed(second, 2))
    assert of(Closed, told)[0].reason == "2 runs were given up, more than 1"
    assert told.standing.open_jobs == []


def test_stop_pauses_and_resume_goes_on_with_the_same_runs():
    told = Told(campaign())
    told.observe()
    runs = {job.run for job in told.standing.open_jobs}
    told.time += 1
    decisions = told.add(Stopped(time=told.time))
    assert {d.job for d in decisions} == {job.name for job in told.standing.open_jobs}
    assert all(d.reason == "the campaign was stopped" for d in decisions)
    told.observe(*(failed(job, 75, images_seen=50) for job in told.standing.open_jobs))
    assert told.standing.open_jobs == []
    told.add(Resumed(time=told.time))
    assert {job.run for job in told.standing.open_jobs} == runs
    assert all(job.name.endswith("-r0-1") for job in told.standing.open_jobs)
    assert told.standing.given_up == []


def test_what_does_not_pause_is_stopped_once():
    told = Told(campaign(limits={"trials": 6, "grace_s": 60.0}))
    told.observe()
    told.add(Stopped(time=told.time))
    assert told.observe(seconds=60.0) == []
    assert [type(d) for d in told.observe(seconds=1.0)] == [Killed, Killed]
    assert told.observe(seconds=100.0) == []


def test_the_window_decides_when_jobs_run():
    night = {"time_zone": "UTC", "windows": [{"days": ["mon"], "start": "20:00", "end": "07:00"}]}
    told = Told(campaign(schedule=night), time=MONDAY)
    assert told.observe(seconds=19 * HOUR) == []
    assert len(told.observe(seconds=HOUR)) == 4  # two trials, proposed and launched
    assert told.observe(seconds=10 * HOUR) == []
    (one, other) = told.observe(seconds=HOUR)
    assert isinstance(one, Paused)
    assert one.reason == other.reason == "outside of the schedule's windows"


def test_its_date_ends_it():
    told = Told(campaign(limits={"trials": 6, "until": "2023-11-20T01:00Z"}), time=MONDAY)
    assert len(told.observe()) == 4
    kinds = [type(d) for d in told.observe(seconds=HOUR)]
    assert kinds == [Closed, Paused, Paused]


def test_nothing_starts_that_the_budget_does_not_carry():
    limits = {"trials": 6, "gpu_hours": 100 / 3600, "grace_s": 5.0}
    told = Told(campaign(limits=limits))
    told.observe()
    (only,) = told.standing.open_jobs  # it measures the pace, alone
    assert only.allowed_s == pytest.approx(95.0)
    told.observe(done(only, 1.0, seconds=20.0))
    one, other = told.standing.open_jobs
    assert one.allowed_s == other.allowed_s == pytest.approx(30.0)
    told.run_out(lambda job: 1.0)
    assert of(Closed, told)[0].reason == "its budget suffices no further"
    assert spent_s(told.standing) <= 100


ENDS = st.sampled_from(["good", "good", "good", "unmeasured", "crash", "config", "away", "killed"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["observe"] * 8 + ["stop", "resume"]),
        st.lists(ENDS, min_size=4, max_size=4),
        st.integers(0, 4),  # capacity
        st.floats(1.0, 4 * HOUR),
        st.floats(0.0, 1.0),
    ),
    max_size=25,
)


def _end(told, job, how, share, elapsed):
    seconds = min(elapsed, (job.allowed_s or elapsed) + told.standing.campaign.limits.grace_s)
    at = job.began_at + int(share * (job.images - job.began_at))
    match how:
        case "good":
            return done(job, share, seconds=seconds)
        case "unmeasured":
            return done(job, None, seconds=seconds)
    code = {"crash": 1, "config": 2, "away": 75, "killed": None}[how]
    return failed(job, code, images_seen=at, seconds=seconds)


def _check(standing, decision):
    """What must hold whenever something is decided."""
    limits = standing.campaign.limits
    if isinstance(decision, Launched):
        assert len(standing.open_jobs) < min(standing.capacity, limits.parallel or 99)
        assert standing.is_in_window
        assert not standing.stopped
        assert standing.closed is None
        assert decision.job not in standing.jobs
        run = standing.runs[decision.run]
        assert run.is_waiting
        assert decision.images == standing.campaign.rungs[decision.rung]
        if (limit := standing.campaign.gpu_seconds) is not None:
            promised = [(job.allowed_s or 0) + limits.grace_s for job in standing.open_jobs]
            gpus = standing.began.gpus_per_job
            mine = gpus * (decision.allowed_s + limits.grace_s)
            assert spent_s(standing) + gpus * sum(promised) + mine <= limit * (1 + 1e-9)
    if isinstance(decision, Proposed):
        assert len(standing.trials) < limits.trials
        assert decision.trial not in standing.trials
        assert all(t.overrides != decision.overrides for t in standing.trials.values())
    if isinstance(decision, Promoted):
        assert all(run.is_done for run in standing.on_rung)
        assert decision.rung == standing.rung + 1


@settings(max_examples=200, deadline=None)
@given(
    steps=STEPS,
    budget=st.sampled_from([None, 1.0, 20.0]),
    kind=st.sampled_from(["grid", "random"]),
    windows=st.booleans(),
)
def test_no_history_breaks_a_limit_or_tries_anything_twice(steps, budget, kind, windows):
    limits = {"trials": 5, "parallel": 3, "gpu_hours": budget, "failures": 2}
    night = {"windows": [{"start": "20:00", "end": "07:00"}] if windows else []}
    made = campaign(
        limits=limits, sampler={"kind": kind}, schedule=night, confirm={"top": 1, "seeds": [7]}
    )
    told = Told(made, gpus_per_job=2.0, time=MONDAY)
    told.checks.append(_check)
    for action, ends, capacity, seconds, share in steps:
        if action == "stop":
            told.add(Stopped(time=told.time))
        elif action == "resume":
            told.add(Resumed(time=told.time))
        else:
            ending = zip(told.standing.open_jobs[: int(3 * share) + 1], ends, strict=False)
            told.observe(
                *(_end(told, job, how, share, seconds) for job, how in ending),
                capacity=capacity, seconds=seconds,
            )  # fmt: skip
    jobs = Counter(event.job for event in of(Launched, told))
    assert not jobs or max(jobs.values()) == 1
    if made.gpu_seconds is not None:
        assert spent_s(told.standing) <= made.gpu_seconds * (1 + 1e-9)
    assert replay(told.events) == []
