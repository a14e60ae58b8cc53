"""Whole runs on a real Ray: to the end, again, through a crash, an interrupt, and bad numbers."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from system.engine.checkpoints import CheckpointStore
from system.launch.local_ray import MARK
from system.launch.local_ray import marked
from system.telemetry.ledger import read_ledger
from tests.system.launch.test_local_ray import lives

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

JOB = "jobs/simflow_digits.py"
PATIENCE_S = 400


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
    wait_for(run, "checkpoint", 1, job)
    os.kill(attempt["process"], signal.SIGKILL)
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, said
    assert [e["attempt"] for e in events(run, "attempt_started")] == [1, 2]
    assert events(run, "worker_failed")
    decided = events(run, "failure_decided")
    assert [(e["action"], e["cause"]) for e in decided] == [("restart", "lost")]
    assert events(run, "report")[-1]["attempt"] == 2
    assert final_weights(run) == final_weights(undisturbed[0])
    proof, said = audit(Audit(run=str(run)))
    assert proof.holds, said
    assert proof.lineage.attempts == 2


@pytest.mark.chaos
def test_driver_and_head_are_killed_and_the_same_command_goes_on(undisturbed, program, tiny, root):
    run = root / "beheaded"
    job = program(JOB, *tiny, "run.name=beheaded", WANDB_MODE="offline")
    wait_for(run, "checkpoint", 3, job)
    all_of_it = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
    for process in all_of_it:  # driver, head and workers, none of which can say anything
        with suppress(psutil.NoSuchProcess):
            process.kill()
    job.communicate()
    changed = "evaluation.timeout_s=901"
    again = program(JOB, *tiny, "run.name=beheaded", changed, WANDB_MODE="offline")
    said, _ = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, said
    assert "images; since its last start has changed:\n  evaluation.timeout_s: 900 → 901" in said
    assert [len(e["changes"]) for e in events(run, "driver_started")] == [0, 1]
    assert events(run, "resumed")
    assert final_weights(run) == final_weights(undisturbed[0])
    proof, account = audit(Audit(run=str(run)))
    assert proof.holds, account


@pytest.mark.chaos
def test_an_interrupted_program_ends_its_own_ray(program, tiny, root):
    run = root / "interrupted"
    job = program(JOB, *tiny, "run.name=interrupted", WANDB_MODE="offline")
    wait_for(run, "checkpoint", 2, job)
    own, marks = psutil.Process(job.pid).children(recursive=True), set()
    for process in own:
        with suppress(psutil.Error):  # it may end meanwhile
            marks.add(process.environ().get(MARK))
    assert len(marks - {None}) == 1
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 75, said
    assert "Traceback" not in said
    deadline = time.monotonic() + 20.0
    while left := [process for process in own if lives(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert CheckpointStore(str(run / "checkpoints")).latest() is not None


@pytest.mark.chaos
def test_a_terminated_driver_says_so_and_leaves_the_cluster_alone(start, tiny, root, ray_here):
    run = root / "terminated"
    job = start(JOB, *tiny, "run.name=terminated")
    wait_for(run, "checkpoint", 1, job)
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 75, said
    assert "terminated; what was started is stopped" in said
    assert not {"Traceback", "***"} & {*said.split()}, said
    assert [*marked(ray_here.mark)]
    again = start(JOB, *tiny, "run.name=terminated")
    said, _ = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, said
    assert "goes on at" in said


def test_numbers_that_stay_bad_end_the_run_at_once(start, tiny, root):
    bad = ["engine.optimiser.learning_rate=1e38", "engine.gradient_clip=0"]
    job = start(JOB, *tiny, "run.name=bad", "engine.max_skipped_updates=1", *bad)
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 3, said
    assert "numerics error: 2 updates in a row" in said
    assert "Traceback" not in said
    assert len(events(root / "bad", "attempt_started")) == 1
    failed = events(root / "bad", "worker_failed")[0]
    assert failed["cause"] == "numerics"
    # After the second of the skipped updates; it crossed to the controller with the error.
    assert failed["images_seen"] == 3 * 64


def test_a_changed_shape_is_refused_and_nothing_is_harmed(undisturbed, start, tiny):
    run, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    job = start(JOB, *tiny, "run.name=undisturbed", "flow.width=32")
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 2, said
    assert "flow.width: 16 before, 32 now" in said
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WANDB_API_KEY", "HF_TOKEN", "MY_PASSWORD")


def test_no_secret_of_the_environment_is_kept_anywhere(program, tiny, root):
    run = root / "secrets"
    planted = {name: f"hush{number}".ljust(40, "x") for number, name in enumerate(SECRETS)}
    short = ["run.total_images=256", "evaluation.every_images=256", "run.name=secrets"]
    job = program(JOB, *tiny, *short, WANDB_MODE="offline", **planted)
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, said
    files = [path for path in run.rglob("*") if path.is_file()]
    kept = {path.name for path in files}
    assert {"recipe.yaml", "provenance.json", "worker-0.jsonl", "worker-0.log"} <= kept
    assert any(name.endswith(".wandb") for name in kept)
    for place, content in [("stdout", said.encode()), *((p, p.read_bytes()) for p in files)]:
        for name, secret in planted.items():
            assert secret.encode() not in content, f"{name} stands in {place}"
