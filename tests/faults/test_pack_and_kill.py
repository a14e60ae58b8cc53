"""A pack that is killed again and again: the same command ends in the same bytes."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from data_pipeline.pack.pack import pack
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.recipe import Square
from data_pipeline.sources.source import Digits
from system.launch.local_ray import MARK
from system.launch.local_ray import marked

ROOT = Path(__file__).parents[2]
OPTIONS = {"channels": 1, "held_out_fraction": 0.2, "shard_samples": 100}
SIDE = 96  # so that a shard takes a good part of a second
DEADLINE_S = 240

pytestmark = [pytest.mark.slow, pytest.mark.chaos]


@pytest.fixture(scope="module")
def untroubled(tmp_path_factory):
    """What a pack leaves that nobody disturbs."""
    out = tmp_path_factory.mktemp("untroubled")
    pack(PackRecipe(source=Digits(), out=str(out), store=Square(size=SIDE), **OPTIONS))
    return contents(out)


@pytest.fixture
def start(tmp_path):
    """Starts the job in a process of its own; what is left of it at the end is ended."""
    started = []

    def run(workers):
        settings = [f"{key}={value}" for key, value in OPTIONS.items()]
        environment = {name: each for name, each in os.environ.items() if name != "RAY_ADDRESS"}
        started.append(
            subprocess.Popen(
                [
                    sys.executable, "jobs/pack_imagenet.py", "source.kind=digits", *settings,
                    "store.kind=square", f"store.size={SIDE}", f"workers={workers}",
                    f"out={tmp_path / 'out'}",
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


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def finished(out):
    return {path.name for path in out.glob("unfinished/*.tar.json")}


def wait_until(condition, job):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if job.poll() is not None:
            pytest.fail(f"the job ended before it could be killed: {job.communicate()[0]}")
        assert time.monotonic() < deadline, "the job has not come that far"
        time.sleep(0.005)


def end_well(job):
    said, _ = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 0, said


def test_killed_twice_it_makes_only_the_shards_that_are_left(start, tmp_path, untroubled):
    out = tmp_path / "out"
    for count in (2, 5):
        job = start(workers=0)
        wait_until(lambda count=count: len(finished(out)) >= count, job)
        job.send_signal(signal.SIGKILL)
        job.communicate()
    names = {name.removesuffix(".json") for name in finished(out)}
    assert len(names) >= 5
    made = {name: (out / name).stat().st_mtime_ns for name in names}
    end_well(start(workers=0))
    assert {name: (out / name).stat().st_mtime_ns for name in names} == made
    assert contents(out) == untroubled
    assert not (out / "unfinished").exists()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.ray)])
def test_an_interrupt_leaves_what_can_be_taken_up(start, tmp_path, untroubled, workers):
    out = tmp_path / "out"
    job = start(workers)
    wait_until(lambda: len(finished(out)) >= 2, job)
    os.killpg(job.pid, signal.SIGINT)  # as a terminal does
    said, _ = job.communicate(timeout=DEADLINE_S)
    assert ("starting Ray for 2 workers" in said) == (workers == 2)
    assert job.returncode == 130
    assert "the same command goes on there" in said
    end_well(start(workers=0))
    assert contents(out) == untroubled


@pytest.mark.ray
def test_a_worker_of_a_cluster_is_killed_and_then_the_driver(start, tmp_path, untroubled):
    out = tmp_path / "out"
    job = start(workers=2)
    wait_until(lambda: len(finished(out)) >= 1, job)
    mark = mark_of(job)
    wait_until(lambda: kill_a_worker(mark), job)
    before = len(finished(out))
    wait_until(lambda: len(finished(out)) >= before + 3, job)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    deadline = time.monotonic() + DEADLINE_S
    while marked(mark):
        assert time.monotonic() < deadline, "the private Ray has outlived its driver"
        time.sleep(0.1)
    end_well(start(workers=0))
    assert contents(out) == untroubled


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
        with suppress(psutil.Error):
            if process.cmdline()[0].startswith("ray::pack"):
                process.kill()
                return True
    return False
