"""Evaluations beside whole runs on a real Ray: killed, starved, too slow, too many; on their own.

Whatever becomes of them, training ends in the same bits as without any.
"""

import json
import resource
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from system.engine.checkpoints import CheckpointStore
from system.evaluation.evaluator import evaluate
from system.evaluation.lag import MORE_KEPT
from system.evaluation.task import TRIES
from system.launch.local_ray import marked
from system.telemetry.ledger import read_ledger

pytestmark = [
    pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800),
]  # fmt: skip

JOB = "jobs/simflow_digits.py"
PATIENCE_S = 800
TOTAL = 4096
KEPT = 2
EVERY = [
    f"run.total_images={TOTAL}", "run.keep_checkpoints=1", f"run.keep_best={KEPT}",
]  # fmt: skip
WATCHES = "ray::run_validation_fn"
MEASURES = "ray::_measure"
DRAWS = "ray::_Hand.work"
# What one without memory still gets: too little for torch, enough for Ray, which hangs without any.
LEFT = 2**24


@pytest.fixture(scope="module")
def root(tiny):
    return Path(tiny[0].partition("=")[2])


@pytest.fixture(scope="module")
def begin(start, tiny):
    """Starts a run by its name and further settings."""
    return lambda name, *settings: start(JOB, *tiny, *EVERY, f"run.name={name}", *settings)


@pytest.fixture(scope="module")
def silent(start, tiny, root):
    """The weights after a run without evaluations."""
    others = [each for each in tiny if not each.startswith("evaluation.")]
    ended_well(start(JOB, *others, *EVERY, "run.name=silent", "evaluation.kind=none"))
    return final_weights(root / "silent")


def ended_well(job):
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, said
    assert "Traceback" not in said


def events(run, *kinds):
    return [event for event in read_ledger(str(run)) if event["kind"] in kinds]


def seen(run, kind):
    return [event["images_seen"] for event in events(run, kind)]


def final_weights(run):
    latest = CheckpointStore(str(run / "checkpoints")).latest()
    assert latest.images_seen == TOTAL
    return (Path(latest.url) / "averaged.safetensors").read_bytes()


def processes(ray_here, title):
    """The processes of this Ray that do such a task."""
    for process in marked(ray_here.mark):
        with suppress(psutil.Error, IndexError):
            if process.cmdline()[0].startswith(title):
                yield process


def settled(run):
    """How many evaluations have come to an end."""
    return len(events(run, "evaluation", "evaluation_dropped", "evaluation_failed"))


def has_drawn(run, since=0.0):
    """Whether a unit of work was written since then: an evaluation is in the middle."""
    with suppress(FileNotFoundError):  # the units of one that ends are removed
        units = (run / "eval" / "units").rglob("*.safetensors")
        return any(unit.stat().st_mtime >= since for unit in units)
    return False


def meanwhile(job, look):
    """Call `look` again and again until the job ends, well."""
    deadline = time.monotonic() + PATIENCE_S
    while job.poll() is None:
        assert time.monotonic() < deadline
        look()
        time.sleep(0.02)
    ended_well(job)


class Trouble:
    """Kills the first evaluation in all of its processes, the second one once in the middle, leaves
    no memory to the third, and kills the task that watches over the fourth.

    Each process measures once. So one belongs to the evaluation whose turn it was when the process
    was first seen: it may outlive its own record for a moment.
    """

    def __init__(self, ray_here, run):
        self.ray_here, self.run = ray_here, run
        self.number, self.since = {}, {}
        self.killed = {0: set(), 1: set(), 3: set()}
        self.starved = set()

    def __call__(self):
        for process in processes(self.ray_here, MEASURES):
            with suppress(psutil.Error):
                self.since.setdefault(process.pid, time.time())
                number = self.number.setdefault(process.pid, settled(self.run))
                self.meet(process, number, has_drawn(self.run, self.since[process.pid]))

    def meet(self, process, number, is_in_the_middle):
        if number == 0:
            process.kill()
            self.killed[0].add(process.pid)
        elif number == 1 and is_in_the_middle and not self.killed[1]:
            process.kill()
            self.killed[1].add(process.pid)
        elif number == 2 and process.pid not in self.starved:
            process.rlimit(resource.RLIMIT_AS, (process.memory_info().vms + LEFT,) * 2)
            self.starved.add(process.pid)
        elif number == 3 and is_in_the_middle and not self.killed[3]:
            for watcher in processes(self.ray_here, WATCHES):
                watcher.kill()
                self.killed[3].add(watcher.pid)


@pytest.fixture(scope="module")
def troubled(begin, root, ray_here):
    """A run, and what was done to its evaluations."""
    run = root / "troubled"
    trouble = Trouble(ray_here, run)
    every = ["run.checkpoint_every_images=512", "evaluation.every_images=512"]
    meanwhile(begin("troubled", *every, "evaluation.waiting=10"), trouble)
    return run, trouble


def test_an_evaluation_that_dies_again_and_again_is_given_up(troubled, silent):
    run, trouble = troubled
    assert len(trouble.killed[0]) == TRIES
    first = events(run, "evaluation_failed")[0]
    assert first["images_seen"] == 512
    assert f"its process was lost {TRIES} times" in first["error"]
    assert "WorkerCrashedError" in first["error"]
    assert final_weights(run) == silent


def test_one_that_dies_once_is_done_again_and_so_is_one_that_nobody_watches(troubled):
    run, trouble = troubled
    assert len(trouble.killed[1]) == len(trouble.killed[3]) == 1
    assert {1024, 2048} <= {*seen(run, "evaluation")}


def test_one_without_memory_is_given_up(troubled):
    run, trouble = troubled
    assert trouble.starved
    second = events(run, "evaluation_failed")[1]
    assert second["images_seen"] == 1536
    wants_memory = ("memory", "failed to map segment", "was lost")
    assert any(what in second["error"].lower() for what in wants_memory)


def test_all_others_are_measured_and_every_one_has_one_end(troubled):
    run, _ = troubled
    assert seen(run, "evaluation") == [1024, *range(2048, TOTAL + 1, 512)]
    assert len(events(run, "evaluation_failed")) == 2
    assert not events(run, "worker_failed")
    assert len(events(run, "attempt_started")) == 1


def test_the_best_and_the_latest_are_kept(troubled):
    run, _ = troubled
    kept = {one.images_seen for one in CheckpointStore(str(run / "checkpoints")).all()}
    measured = {e["images_seen"]: e["values"]["evaluation/gfid"] for e in events(run, "evaluation")}
    assert kept == {*sorted(measured, key=measured.get)[:KEPT], TOTAL}


def test_those_that_take_too_long_are_given_up_and_later_ones_are_not(
    begin, root, silent, ray_here
):
    run = root / "late"
    ended_well(begin("late", "evaluation.timeout_s=1", "evaluation.every_images=2048"))
    assert final_weights(run) == silent
    failed = events(run, "evaluation_failed")
    assert [event["images_seen"] for event in failed] == [2048, TOTAL]
    assert all("longer than evaluation.timeout_s=1" in event["error"] for event in failed)
    # Nothing goes on with what nobody waits for.
    assert not [*processes(ray_here, MEASURES)]
    ended_well(begin("late", f"run.total_images={TOTAL + 256}"))
    assert seen(run, "evaluation") == [TOTAL + 256]
    assert len(events(run, "evaluation_failed")) == 2


class Onlooker:
    """Counts the checkpoints that lie there, and kills one worker of the crew in its work."""

    def __init__(self, ray_here, run):
        self.ray_here, self.run = ray_here, run
        self.most = 0
        self.killed = 0

    def __call__(self):
        folder = self.run / "checkpoints"
        if folder.is_dir():
            self.most = max(self.most, sum(path.is_dir() for path in folder.iterdir()))
        if not self.killed and has_drawn(self.run):
            for process in [*processes(self.ray_here, DRAWS)][:1]:
                with suppress(psutil.Error):
                    process.kill()
                    self.killed += 1


@pytest.fixture(scope="module")
def many(begin, root, ray_here):
    """A run with more evaluations than can be done, by a crew of two, one of them killed."""
    run = root / "many"
    onlooker = Onlooker(ray_here, run)
    crew = ["cluster.evaluation_workers=2", "cluster.evaluation_cpus=0.3", "evaluation.batch=50"]
    every = ["run.checkpoint_every_images=128", "evaluation.every_images=128"]
    meanwhile(begin("many", *every, *crew, "evaluation.waiting=1"), onlooker)
    return run, onlooker


def test_too_many_are_left_out_the_last_one_never(many, silent):
    run, _ = many
    asked = {*seen(run, "evaluation_requested"), *seen(run, "evaluation_dropped")}
    assert asked == {*range(128, TOTAL + 1, 128)}
    assert events(run, "evaluation_dropped")
    assert not events(run, "evaluation_failed")
    ends = seen(run, "evaluation") + seen(run, "evaluation_dropped")
    assert sorted(ends) == sorted(asked)
    assert seen(run, "evaluation")[-1] == TOTAL
    assert final_weights(run) == silent


def test_what_waits_for_evaluation_takes_no_more_room_than_said(many):
    run, onlooker = many
    pending = 1 + MORE_KEPT + 1  # waiting, kept beyond that, and the one that is asked for next
    uploads, unremoved = 2, 5  # the driver removes them, which may have to wait for a processor
    assert onlooker.most <= KEPT + 1 + pending + uploads + unremoved < TOTAL // 128
    kept = {one.images_seen for one in CheckpointStore(str(run / "checkpoints")).all()}
    measured = {e["images_seen"]: e["values"]["evaluation/gfid"] for e in events(run, "evaluation")}
    assert kept == {*sorted(measured, key=measured.get)[:KEPT], TOTAL}


def test_a_crew_with_a_death_in_it_measures_the_same_to_the_last_byte(many, tmp_path):
    run, onlooker = many
    assert onlooker.killed == 1
    checkpoint = CheckpointStore(str(run / "checkpoints")).latest()
    evaluate(checkpoint.url, output=str(tmp_path))
    name = f"eval/{TOTAL:012d}-digits.json"
    assert (tmp_path / name).read_bytes() == (run / name).read_bytes()
    assert json.loads((run / name).read_text())["images_seen"] == TOTAL
    picture = f"samples/{TOTAL:012d}.png"
    assert (tmp_path / picture).read_bytes() == (run / picture).read_bytes()
