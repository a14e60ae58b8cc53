"""A turn looks, decides and carries out; it may stop anywhere, and be taken twice at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from system.campaign.decisions import replay
from system.campaign.ledger import CampaignLedger
from system.campaign.ledger import Launched
from system.campaign.ledger import Resumed
from system.campaign.ledger import Stopped
from system.campaign.observation import run_url
from system.campaign.standing import Standing
from system.campaign.tick import amend
from system.campaign.tick import begin
from system.campaign.tick import follow
from system.campaign.tick import tick
from system.campaign.tick import wish
from system.foundation.errors import BadInput
from system.foundation.errors import ClusterError
from system.foundation.errors import RecipeError
from system.launch.pausing import JOB_VARIABLE
from system.launch.pausing import PAUSE_AT_VARIABLE
from system.observe.leaderboard import read_leaderboards
from tests.system.campaign.campaigns import SPREAD
from tests.system.campaign.campaigns import campaign
from tests.system.campaign.clusters import PlainCluster
from tests.system.campaign.clusters import is_asked_to_pause
from tests.system.campaign.clusters import leave_behind

PARIS = ZoneInfo("Europe/Paris")


class Played:
    """A campaign under a folder, its plain cluster, and a clock that a test turns."""

    def __init__(self, tmp_path, **changes):
        self.campaign = campaign(root=str(tmp_path / "runs"), **changes)
        self.scratch = tmp_path
        self.ledger = CampaignLedger(self.campaign.root, self.campaign.name)
        self.cluster = PlainCluster()
        self.now = 1000.0
        begin(self.campaign, self.ledger, self.cluster, self.now)

    def tick(self, seconds=1.0):
        self.now += seconds
        return tick(self.ledger, self.cluster, self.now)

    def finish(self, job, value):
        """Let a job come to its rung."""
        leave_behind(run_url(self.campaign, job.run), job.images, value, self.scratch)
        self.cluster.end(job.name, 0)


def play_out(played):
    standing = played.tick()
    for _ in range(40):
        if not standing.open_jobs:
            return standing
        for job in [each for each in standing.open_jobs if each.name in played.cluster.commands]:
            overrides = standing.trials[standing.runs[job.run].trial].overrides
            played.finish(job, overrides[SPREAD] + (job.rung + 1) / 100)
        standing = played.tick()
    raise AssertionError("it has no end")


def test_a_campaign_runs_to_its_end_and_its_board_says_what_the_runs_say(tmp_path):
    played = Played(tmp_path, confirm={"top": 1, "seeds": [7]})
    standing = play_out(played)
    assert standing.closed.complete
    assert len(played.cluster.commands) == 6 + 3 + 2 + 1
    (board,) = read_leaderboards(played.campaign.root)
    assert board.state == "complete"
    best = board.trials[0]
    assert (best.value, best.confirmed_value) == pytest.approx((0.33, 0.33))
    assert (best.overrides[SPREAD], best.rung, best.images_seen) == (0.3, 2, 400)
    assert replay(played.ledger.read()) == []
    assert play_out(played).closed == standing.closed  # once more does nothing
    assert len(played.cluster.commands) == 12


def test_a_job_is_an_ordinary_one_that_knows_its_name(tmp_path):
    played = Played(tmp_path, limits={"gpu_hours": 1.0, "images_per_s": 1.0})
    standing = played.tick()
    for job in standing.open_jobs:
        script, arguments, variables = played.cluster.commands[job.name]
        assert script == "jobs/simflow_digits.py"
        assert f"run.name={job.run}" in arguments
        assert f"run.root={played.campaign.root}" in arguments
        assert "run.total_images=100" in arguments
        assert any(each.startswith("data.shards=/") for each in arguments)
        assert variables[JOB_VARIABLE] == job.name
        assert float(variables[PAUSE_AT_VARIABLE]) > 0


def test_what_a_killed_controller_decided_is_carried_out_by_the_next(tmp_path):
    played = Played(tmp_path)
    played.tick()
    played.cluster.commands.clear()
    played.cluster.forget()  # as if it had died before it submitted, or the cluster had
    standing = played.tick()
    assert sorted(played.cluster.commands) == sorted(job.name for job in standing.open_jobs)
    assert len(standing.jobs) == 2


def test_controllers_at_once_decide_as_one(tmp_path):
    played = Played(tmp_path)
    for step in range(12):
        ledgers = [CampaignLedger(played.campaign.root, "sweep") for _ in range(4)]
        played.now += 1.0
        with ThreadPoolExecutor(4) as controllers:
            for done in [
                controllers.submit(tick, ledger, played.cluster, played.now + 0.1 * number)
                for number, ledger in enumerate(ledgers)
            ]:
                done.result()
        events = played.ledger.read()
        launched = [event.job for event in events if isinstance(event, Launched)]
        assert len(set(launched)) == len(launched), step
        standing = Standing(events)
        assert len(standing.open_jobs) <= 2
        for job in standing.open_jobs:
            played.finish(job, 1.0 + len(launched) / 100)
    assert standing.closed.complete
    assert replay(events) == []


def test_a_silent_cluster_loses_nothing(tmp_path):
    played = Played(tmp_path)
    played.tick()
    events = played.ledger.read()
    played.cluster.is_silent = True
    with pytest.raises(ClusterError):
        played.tick()
    assert played.ledger.read() == events
    played.cluster.is_silent = False
    played.tick()
    assert played.ledger.read() == events  # nothing new was seen: nothing is written


def test_stop_asks_every_job_to_save_and_resume_goes_on_by_name(tmp_path):
    played = Played(tmp_path)
    first = played.tick()
    wish(played.ledger, Stopped(time=played.now))
    standing = played.tick()
    assert all(is_asked_to_pause(standing, job.name) for job in standing.open_jobs)
    for job in standing.open_jobs:
        leave_behind(run_url(played.campaign, job.run), 48, 1.0, tmp_path)
        played.cluster.end(job.name, 75)
    assert played.tick().open_jobs == []
    wish(played.ledger, Resumed(time=played.now))
    standing = played.tick()
    assert {job.run for job in standing.open_jobs} == {job.run for job in first.open_jobs}
    assert {job.began_at for job in standing.open_jobs} == {48}
    assert not {job.name for job in standing.open_jobs} & set(first.jobs)
    assert not any(is_asked_to_pause(standing, job.name) for job in standing.open_jobs)


def test_a_job_that_will_not_save_is_stopped(tmp_path):
    played = Played(tmp_path, limits={"grace_s": 30.0})
    played.tick()
    wish(played.ledger, Stopped(time=played.now))
    played.tick()
    standing = played.tick(31.0)
    assert sorted(set(played.cluster.stopped)) == sorted(job.name for job in standing.open_jobs)
    assert played.tick().open_jobs == []


def test_a_trial_that_no_recipe_allows_is_given_up_and_the_rest_goes_on(tmp_path):
    played = Played(tmp_path, space={SPREAD: {"choices": [-1.0, 0.3]}})
    standing = play_out(played)
    assert standing.closed.complete
    (lost,) = standing.given_up
    assert "autoencoder.posterior.std" in lost.given_up
    assert len(played.cluster.commands) == 3


def test_through_a_week_it_runs_at_night_and_rests_with_a_checkpoint(tmp_path):
    """The clock is turned by half hours; jobs see 10 images in each, and save when asked."""
    nights = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "20:00", "end": "07:00"}
    played = Played(
        tmp_path, limits={"trials": 2}, rungs=[900], space={SPREAD: {"choices": [0.3, 0.5]}},
        schedule={"time_zone": "Europe/Paris", "windows": [nights]},
    )  # fmt: skip
    at = datetime(2026, 11, 30, 12, tzinfo=PARIS)
    end, seen, ran = at + timedelta(days=7), {}, []
    while at < end:
        standing = tick(played.ledger, played.cluster, at.timestamp())
        running = [job for job in standing.open_jobs if job.paused is None]
        for job in standing.open_jobs:
            at_images = seen[job.run] = min(900, seen.get(job.run, 0) + 10)
            if at_images == 900:
                played.finish(job, 1.0)
            elif is_asked_to_pause(standing, job.name):
                leave_behind(run_url(played.campaign, job.run), at_images, 1.0, tmp_path)
                played.cluster.end(job.name, 75)
        if running:
            ran.append(at)
        at += timedelta(minutes=30)
    assert {(each.hour >= 20) or (each.hour < 7) for each in ran} == {True}
    assert len({(each - timedelta(hours=12)).date() for each in ran}) == 4
    assert all(len(run.jobs) == 4 for run in standing.runs.values())  # a job each night
    starts = [[job.began_at for job in run.jobs] for run in standing.runs.values()]
    assert all(each == sorted(set(each)) for each in starts)  # from where the last one saved
    assert standing.closed.complete
    assert replay(played.ledger.read()) == []


def test_another_campaign_of_the_same_name_is_refused(tmp_path):
    played = Played(tmp_path)
    other = played.campaign.model_copy(update={"rungs": (100,)})
    with pytest.raises(RecipeError, match="other settings"):
        begin(other, played.ledger, played.cluster, 0.0)
    begin(played.campaign, played.ledger, played.cluster, 0.0)  # the same one is there already
    with pytest.raises(BadInput, match="not begun"):
        amend(played.campaign, CampaignLedger(str(tmp_path), "sweep"), 0.0)


def test_limits_may_change_while_it_runs(tmp_path):
    played = Played(tmp_path)
    played.tick()
    made = campaign(root=played.campaign.root, limits={"parallel": 1, "gpu_hours": 9.0})
    assert amend(made, played.ledger, played.now) == ["limits"]
    assert amend(made, played.ledger, played.now) == []
    standing = played.tick()
    assert standing.campaign.limits.gpu_hours == 9.0
    assert len(standing.open_jobs) == 2  # none is taken away
    assert replay(played.ledger.read()) == []


class Stuttering(PlainCluster):
    """Does not answer for a while after the first turns."""

    asked = 0

    def _answer(self):
        self.asked += 1
        if 8 < self.asked < 14:
            raise ClusterError("nobody answers")


def test_who_follows_outlives_a_cluster_that_is_silent_for_a_while(tmp_path, caplog):
    played = Played(tmp_path)
    played.cluster = Stuttering()

    def say(standing):
        for job in standing.open_jobs:
            if job.name in played.cluster.commands:
                played.finish(job, 1.0)

    assert follow(played.ledger, played.cluster, 0.01, say).closed.complete
    assert "nobody answers" in caplog.text


def test_who_follows_a_cluster_that_never_answered_is_told(tmp_path):
    played = Played(tmp_path)
    played.cluster.is_silent = True
    with pytest.raises(ClusterError, match="nobody answers"):
        follow(played.ledger, played.cluster, 0.01, lambda standing: None)
