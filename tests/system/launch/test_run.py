"""Whole runs on a real Ray: to the end, again, through a crash, an interrupt, and bad numbers."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from system.engine.checkpoints import CheckpointStore
from system.launch.local_ray import MARK
from system.telemetry.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

JOB = "jobs/simflow_digits.py"
PATIENCE_S = 200


@pytest.fixture(scope="module")
def root(tiny):
    return Path(tiny[0].partition("=")[2])


@pytest.fixture(scope="module")
def undisturbed(start, tiny, root):
    """A run that nobody disturbed: its folder, and what the program said."""
    job = start(JOB, *tiny, "run.name=undisturbed")
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, said
    return root / "undisturbed", said


def events(run, kind):
    return [event for event in read_ledger(str(run)) if event["kind"] == kind]


def wait_for(run, kind, count, job):
    """Wait until the ledger has that many events of a kind; the job must be alive meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while len(found := events(run, kind)) < count:
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def final_weights(run):
    latest = CheckpointStore(str(run / "checkpoints")).latest()
    assert latest.images_seen == 2048
    return (Path(latest.url) / "averaged.safetensors").read_bytes()


def test_a_run_fills_its_folder(undisturbed):
    run, said = undisturbed
    assert {"recipe.yaml", "provenance.json", "ledger", "checkpoints", "eval", "samples"} <= {
        path.name for path in run.iterdir()
    }
    (evaluation,) = events(run, "evaluation")
    assert evaluation["images_seen"] == 2048
    assert {"evaluation/gfid", "evaluation/bits_per_dim"} <= evaluation["values"].keys()
    assert [e["images_seen"] for e in events(run, "report")] == list(range(256, 2049, 256))
    assert events(run, "run_finished")[-1]["images_seen"] == 2048
    # The newest are kept, each committed by both workers.
    kept = CheckpointStore(str(run / "checkpoints")).all()
    assert [one.images_seen for one in kept] == [1536, 1792, 2048]
    weights = load_file(Path(kept[-1].url) / "averaged.safetensors")
    assert any(name.startswith("flow.") for name in weights)
    assert "images 2,048 / 2,048  100 %" in said
    assert "run 'undisturbed' is done: 2,048 images" in said
    assert "Traceback" not in said


def test_a_finished_run_says_that_it_is_done(undisturbed, start, tiny):
    run, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    job = start(JOB, *tiny, "run.name=undisturbed")
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, said
    assert "run 'undisturbed' is done: 2,048 images" in said
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.chaos
def test_a_killed_worker_changes_nothing(undisturbed, start, tiny, root):
    run = root / "killed"
    job = start(JOB, *tiny, "run.name=killed")
    (attempt,) = wait_for(run, "attempt_started", 1, job)
    wait_for(run, "checkpoint", 3, job)
    os.kill(attempt["process"], signal.SIGKILL)
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, said
    assert [e["attempt"] for e in events(run, "attempt_started")] == [1, 2]
    assert events(run, "worker_failed")
    assert events(run, "report")[-1]["attempt"] == 2
    assert final_weights(run) == final_weights(undisturbed[0])
    proof, said = audit(Audit(run=str(run)))
    assert proof.holds, said
    assert proof.lineage.attempts == 2


@pytest.mark.chaos
def test_an_interrupted_program_ends_its_own_ray(program, tiny, root):
    run = root / "interrupted"
    job = program(JOB, *tiny, "run.name=interrupted", WANDB_MODE="offline")
    wait_for(run, "checkpoint", 2, job)
    own = {process.pid for process in psutil.Process(job.pid).children(recursive=True)}
    marks = {psutil.Process(pid).environ().get(MARK) for pid in own if psutil.pid_exists(pid)}
    assert len(marks - {None}) == 1
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 75, said
    assert "Traceback" not in said
    assert not [pid for pid in own if psutil.pid_exists(pid)]
    assert CheckpointStore(str(run / "checkpoints")).latest() is not None


def test_numbers_that_stay_bad_end_the_run_at_once(start, tiny, root):
    bad = ["engine.optimiser.learning_rate=1e38", "engine.gradient_clip=0"]
    job = start(JOB, *tiny, "run.name=bad", "engine.max_skipped_updates=1", *bad)
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 3, said
    assert "numerics error: 2 updates in a row" in said
    assert "Traceback" not in said
    assert len(events(root / "bad", "attempt_started")) == 1


def test_a_changed_shape_is_refused_and_nothing_is_harmed(undisturbed, start, tiny):
    run, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    job = start(JOB, *tiny, "run.name=undisturbed", "flow.width=32")
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 2, said
    assert "flow.width: 16 before, 32 now" in said
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
