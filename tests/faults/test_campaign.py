"""A campaign on a real Ray: controllers are killed, a trial is killed, two act at once.

Twelve trials of the digits, halved twice, and the winner once more with fresh seeds.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from system.campaign.decisions import replay
from system.campaign.ledger import CampaignLedger
from system.campaign.ledger import Launched
from system.campaign.ledger import Promoted
from system.campaign.ledger import Proposed
from system.campaign.standing import Standing
from system.foundation.config import resolve
from system.launch.local_ray import LocalRay
from system.launch.local_ray import local_ray
from system.observe.leaderboard import read_leaderboards
from system.telemetry.ledger import read_ledger

ROOT = Path(__file__).parents[2]
METRIC = "loss/nll_nats"
RUNGS = (64, 128, 192)
PATIENCE_S = 1500

CAMPAIGN = """
name: chaos
recipe: configs/simflow_digits.yaml
root: {root}
overlays: [configs/smoke.yaml]
settings:
  - data.shards={shards}
  - "evaluation={{kind: none}}"
  - cluster.cpus_per_worker=0.5
  - run.global_batch=16
  - run.report_every_images=16
  - run.checkpoint_every_images=64
  - run.keep_checkpoints=1
  - autoencoder.width=8
  - flow.width=16
  - flow.head_width=8
  - flow.depths=[1, 1]
objective: {{metric: {metric}, direction: min}}
space:
  autoencoder.posterior.std: {{choices: [0.3, 0.5, 0.7, 1.0]}}
  engine.optimiser.learning_rate: {{choices: [1e-4, 1e-3, 1e-2]}}
rungs: {rungs}
keep: 0.25
limits: {{trials: 12, parallel: 3, gpu_hours: 40, images_per_s: 0.05, grace_s: 600}}
confirm: {{top: 1, seeds: [101, 102], protocol: [run.report_every_images=64]}}
"""


@contextmanager
def controller(file: Path, ray_here: LocalRay, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """`start`, which ticks until the campaign has ended or somebody ends it."""
    known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with log.open("ab") as told:
        process = subprocess.Popen(
            [sys.executable, "jobs/run_campaign.py", "start", str(file),
             f"address={ray_here.dashboard}", "every_s=1"],
            cwd=ROOT, env=known | ray_here.environment | {"PYTHONPATH": str(ROOT)},
            stdout=told, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def until(holds, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until something holds; a controller that ends before is a failure."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def launched(ledger: CampaignLedger) -> list[Launched]:
    return [event for event in ledger.read() if isinstance(event, Launched)]


def kill_a_trial(root: Path, ledger: CampaignLedger) -> str | None:
    """Kill the driver of a job that has measured nothing yet, and its worker; the run."""
    for event in launched(ledger):
        url = str(root / event.run)
        events = read_ledger(url)
        kinds = [each["kind"] for each in events]
        if "attempt_started" in kinds and not {"report", "run_finished"} & {*kinds}:
            driver = next(each for each in events if each["kind"] == "driver_started")
            worker = next(each for each in events if each["kind"] == "attempt_started")
            with suppress(ProcessLookupError):
                os.kill(worker["process"], signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(driver["process"], signal.SIGKILL)
                return event.run
    return None


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("shards") / "digits"
    pack(resolve(ROOT / "configs/pack_digits.yaml", [f"out={out}"], PackRecipe).recipe)
    return str(out)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.timeout(2 * PATIENCE_S)
def test_no_trial_is_lost_or_run_twice(shards: str, tmp_path: Path) -> None:
    root, log, file = tmp_path / "runs", tmp_path / "controllers.log", tmp_path / "chaos.yaml"
    file.write_text(CAMPAIGN.format(root=root, shards=shards, metric=METRIC, rungs=list(RUNGS)))
    ledger = CampaignLedger(str(root), "chaos")
    with local_ray(cpus=3.0, port=0) as ray_here:
        with controller(file, ray_here, log) as first:
            until(lambda: len(launched(ledger)) >= 2, first, log)
            first.kill()
        with controller(file, ray_here, log) as second, controller(file, ray_here, log) as third:
            victims: list[str] = []
            until(lambda: (victim := kill_a_trial(root, ledger)) and victims.append(victim) is None,
                  second, log)  # fmt: skip
            until(lambda: len(launched(ledger)) >= 8, second, log)
            second.kill()
            until(lambda: third.poll() is None and Standing(ledger.read()).closed, third, log)
            assert third.wait(PATIENCE_S) == 0, log.read_text()
        client = JobSubmissionClient(
            ray_here.dashboard, headers={"Authorization": f"Bearer {ray_here.token}"}
        )
        jobs = {job.submission_id: job for job in client.list_jobs()}
    events = ledger.read()
    standing = Standing(events)
    assert standing.closed is not None
    assert standing.closed.complete, standing.closed
    assert replay(events) == []
    check_jobs(root, ledger, set(jobs), victims)
    check_rungs(standing, events)
    check_leaderboard(root, standing)


def check_jobs(root: Path, ledger: CampaignLedger, known: set[str], victims: list[str]) -> None:
    """What was decided is what ran, once each; only what was killed came again."""
    decided = launched(ledger)
    proposed = [event.trial for event in ledger.read() if isinstance(event, Proposed)]
    assert len(set(proposed)) == len(proposed) == 12
    assert sorted(event.job for event in decided) == sorted(known)
    ends = {job.name: job.ended for job in Standing(ledger.read()).jobs.values()}
    good = Counter((e.run, e.rung) for e in decided if ends[e.job].value is not None)
    assert set(good.values()) == {1}  # nothing that was measured is run again
    bad = [event.run for event in decided if ends[event.job].value is None]
    assert bad == victims
    for run in {event.run for event in decided}:
        kinds = Counter(event["kind"] for event in read_ledger(str(root / run)))
        starts = sum(event.run == run for event in decided)
        assert kinds["driver_started"] == kinds["attempt_started"] == starts, run
        rungs = len({event.rung for event in decided if event.run == run})
        assert kinds["run_finished"] == rungs, run


def check_rungs(standing: Standing, events) -> None:
    """Twelve, three, one; the winner confirmed; and never more than was allowed."""
    assert [len(event.kept) for event in events if isinstance(event, Promoted)] == [3, 1]
    for event in events:
        if isinstance(event, Promoted):
            best = sorted(event.values, key=lambda trial: event.values[trial])
            assert list(event.kept) == best[: len(event.kept)]
    assert standing.confirming is not None
    assert sorted(standing.confirming.runs.values()) == [101, 102]
    limit = standing.campaign.gpu_seconds
    assert limit is not None
    for number in range(1, len(events) + 1):
        before = Standing(events[:number])
        assert len(before.open_jobs) <= 3
        assert before.spent_s(before.now) <= limit


def check_leaderboard(root: Path, standing: Standing) -> None:
    """The leaderboard says what the runs' own ledgers say."""
    (board,) = read_leaderboards(str(root))
    assert board.state == "complete"
    assert len(board.trials) == 12
    for row in board.trials:
        reports = [e for e in read_ledger(str(root / row.run)) if e["kind"] == "report"]
        last = max(reports, key=lambda event: event["images_seen"])
        assert (row.value, row.images_seen) == (last["values"][METRIC], RUNGS[row.rung])
        assert last["images_seen"] == row.images_seen
    best = board.trials[0]
    assert best.trial == standing.confirming.trials[0]
    found = []
    for seed in (101, 102):
        url = root / f"{best.run}-seed{seed}"
        recipe = resolve(url / "recipe.yaml", []).recipe
        assert (recipe.run.seed, recipe.run.report_every_images) == (seed, 64)
        assert recipe.engine.schedule.horizon_images == RUNGS[-1]
        reports = [e for e in read_ledger(str(url)) if e["kind"] == "report"]
        assert reports[-1]["images_seen"] == RUNGS[-1]
        found.append(reports[-1]["values"][METRIC])
    assert best.confirmed_value == pytest.approx(sum(found) / 2)
    assert best.confirmed_error == pytest.approx(abs(found[0] - found[1]) / 2)
    assert json.loads((root / "campaigns/chaos/leaderboard.json").read_text())
