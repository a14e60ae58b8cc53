"""Drawing that is killed again and again: the same command ends in the same bytes."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.foundation.config import resolve
from system.launch.local_ray import MARK
from system.launch.local_ray import marked
from tests.system.evaluation.conftest import TINY
from tests.system.evaluation.conftest import committed
from tests.system.evaluation.conftest import random_weights

ROOT = Path(__file__).parents[2]
COUNT = 3000
DEADLINE_S = 240

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The url of a checkpoint of a very small model."""
    recipe = resolve(ROOT / "configs/simflow_digits.yaml", [*TINY]).recipe
    folder = tmp_path_factory.mktemp("run")
    return committed(folder / "run", folder / "local", recipe, random_weights(recipe))


@pytest.fixture(scope="module")
def untroubled(checkpoint, tmp_path_factory):
    """What the job leaves where nobody disturbs it."""
    out = tmp_path_factory.mktemp("untroubled")
    sample_to_folder(Sampling(checkpoint=checkpoint, out=str(out), count=COUNT))
    return contents(out)


@pytest.fixture
def start(checkpoint, tmp_path):
    """Starts the job in a process of its own; what is left of it at the end is ended."""
    started = []

    def run(workers, batch):
        environment = {name: each for name, each in os.environ.items() if name != "RAY_ADDRESS"}
        started.append(
            subprocess.Popen(
                [
                    sys.executable, "jobs/sample.py", f"checkpoint={checkpoint}", f"count={COUNT}",
                    f"workers={workers}", f"batch={batch}", f"out={tmp_path / 'out'}",
                ],
                cwd=ROOT, env=environment, start_new_session=True, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
        return started[-1]

    yield run
    for each in started:
        each.kill()
        each.wait()
        each.stdout.close()


def test_killed_twice_it_goes_on_where_it_was(start, tmp_path, untroubled):
    for count, batch in ((2, 64), (12, 7)):
        job = start(workers=0, batch=batch)
        wait_until(lambda count=count: len(finished(tmp_path)) >= count, job)
        job.send_signal(signal.SIGKILL)
        job.communicate()
    made = finished(tmp_path)
    assert len(made) >= 12
    job = start(workers=0, batch=64)
    wait_until(lambda: len(finished(tmp_path)) > len(made), job)
    assert made.items() <= finished(tmp_path).items()  # none of them is made again
    end_well(job)
    assert contents(tmp_path / "out") == untroubled


def test_an_interrupt_leaves_what_can_be_taken_up(start, tmp_path, untroubled):
    job = start(workers=0, batch=64)
    wait_until(lambda: len(finished(tmp_path)) >= 2, job)
    os.killpg(job.pid, signal.SIGINT)  # as a terminal does
    said, _ = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 130
    assert "of 3000 images are drawn; the same command goes on there" in said
    end_well(start(workers=0, batch=256))
    assert contents(tmp_path / "out") == untroubled


@pytest.mark.ray
def test_a_worker_of_a_cluster_is_killed_and_then_the_program(start, tmp_path, untroubled):
    job = start(workers=2, batch=64)
    wait_until(lambda: len(finished(tmp_path)) >= 1, job)
    mark = mark_of(job)
    wait_until(lambda: kill_a_worker(mark), job)
    before = len(finished(tmp_path))
    wait_until(lambda: len(finished(tmp_path)) >= before + 3, job)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    deadline = time.monotonic() + DEADLINE_S
    while marked(mark):
        assert time.monotonic() < deadline, "the private Ray has outlived its driver"
        time.sleep(0.1)
    end_well(start(workers=2, batch=100))
    assert contents(tmp_path / "out") == untroubled


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def finished(folder):
    """When each finished unit was written, by its name."""
    found = {}
    for path in folder.glob("out/unfinished/*/0*.safetensors"):
        with suppress(FileNotFoundError):  # all is done, and units are removed
            found[path.name] = path.stat().st_mtime_ns
    return found


def wait_until(condition, job):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if job.poll() is not None:
            pytest.fail(f"the job ended before it could be killed: {job.communicate()[0]}")
        assert time.monotonic() < deadline, "the job has not come that far"
        time.sleep(0.002)


def end_well(job):
    said, _ = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 0, said


def mark_of(job):
    """The mark of the private Ray that the job has started."""
    for child in psutil.Process(job.pid).children():
        with suppress(psutil.Error):
            if MARK in child.environ():
                return child.environ()[MARK]
    raise AssertionError("the job has started no Ray")


def kill_a_worker(mark):
    """Whether a worker was found at work, and killed."""
    for process in marked(mark):
        with suppress(psutil.Error, IndexError):
            if process.cmdline()[0].startswith("ray::_Hand.work"):
                process.kill()
                return True
    return False
