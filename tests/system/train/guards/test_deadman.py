"""Workers that hang, for real: in the data, in a collective, in the interpreter itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from system.foundation.settings.guards import Hangs
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.guards.deadman import EXIT_HUNG
from system.train.guards.deadman import Deadman
from system.train.guards.deadman import limit_of
from system.train.guards.deadman import overdue
from system.train.guards.pulse import Pulse
from system.train.guards.pulse import Reading

ROOT = Path(__file__).parents[4]
HANGS = Hangs(least_s=10, typical_updates=5, start_s=100, save_s=50)

# A worker's loop in small: updates that meet in a collective, from a stream that may hang.
WORKER = """
import ctypes, sys, time
import torch
import torch.distributed as dist
from system.foundation.settings.guards import Hangs
from system.telemetry.ledger import Ledger
from system.train.guards.deadman import Deadman
from system.train.guards.pulse import Pulse

rank, size, folder, where, least_s = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5], 5.0
if size > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)

def storage_that_never_answers():
    time.sleep(600)

def stream():
    for number in range(1_000_000):
        if number == 3 and where == "data":
            storage_that_never_answers()
        yield number

pulse = Pulse()
ledger = Ledger(folder, f"worker-{rank}", run="tiny", attempt=4)
with Deadman(pulse, Hangs(least_s=least_s, typical_updates=1, start_s=60, save_s=60), ledger, rank):
    for number in pulse.taking(stream()):
        if number == 3 and where == "host" and rank == 1:
            storage_that_never_answers()
        if number == 3 and where == "interpreter":
            time.sleep(2)  # so that the deadman has looked
            ctypes.PyDLL(None).sleep(600)  # without letting go of the interpreter
        if size > 1:
            dist.all_reduce(torch.ones(1))
        pulse.beat()
"""


@pytest.mark.parametrize(
    ("reading", "limit"),
    [
        (Reading("start", 0, None), 100),
        (Reading("save", 0, 1.0), 50),
        (Reading("data", 0, 1.0), 10),
        (Reading("update", 0, None), 10),
        (Reading("update", 0, 3.0), 15),
    ],
)
def test_each_stage_has_its_limit_and_long_updates_a_longer_one(reading, limit) -> None:
    assert limit_of(reading, HANGS) == limit
    assert overdue(reading, limit, HANGS) is None
    late = overdue(reading, limit + 1, HANGS)
    assert late == f"no update finished for {limit + 1} s, of which {limit} s are allowed"


def run_until_it_ends(folder: Path, where: str, size: int = 1) -> list[tuple[int, str]]:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(size), str(folder), where],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        errors = [worker.communicate(timeout=240)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    return [(worker.returncode, error) for worker, error in zip(workers, errors, strict=True)]


def test_a_hung_loader_ends_the_worker_with_its_stacks(tmp_path: Path) -> None:
    ((code, said),) = run_until_it_ends(tmp_path, "data")
    assert code == EXIT_HUNG
    (event,) = read_ledger(str(tmp_path))
    assert (event["kind"], event["rank"], event["stage"], event["attempt"]) == (
        "hang",
        0,
        "data",
        4,
    )
    assert "of which 5 s are allowed" in event["reason"]
    stacks = (tmp_path / event["stacks"]).read_text()
    assert event["stacks"] == "logs/hang-4-worker-0.txt"
    assert "storage_that_never_answers" in stacks
    assert "storage_that_never_answers" in said


def test_whoever_waits_in_a_collective_for_one_that_hangs_says_so(tmp_path: Path) -> None:
    ended = run_until_it_ends(tmp_path, "host", size=2)
    # The first to end may take the other's connection down before that one's own limit.
    assert EXIT_HUNG in [code for code, _ in ended]
    assert all(code != 0 for code, _ in ended)
    stages = {event["rank"]: event["stage"] for event in read_ledger(str(tmp_path))}
    assert stages.get(0, "collective") == "collective"
    assert stages.get(1, "update") == "update"


@pytest.mark.slow
def test_a_hang_that_never_lets_go_of_the_interpreter_ends_as_well(tmp_path: Path) -> None:
    ((code, said),) = run_until_it_ends(tmp_path, "interpreter")
    assert code == 1, "faulthandler's own"
    assert "Timeout" in said
    assert "most recent call first" in said


def test_a_ledger_that_hangs_too_does_not_keep_the_worker(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("system.train.guards.deadman.WRITING_S", 0.1)
    left, pulse = [], Pulse()
    pulse.beat()
    hangs = Hangs(least_s=0.05)
    with Ledger(str(tmp_path), "worker-0", run="tiny") as ledger:
        with ledger._lock, Deadman(pulse, hangs, ledger, 0, leave=left.append) as deadman:
            deadman._thread.join(60)
            assert left == [EXIT_HUNG]
            assert read_ledger(str(tmp_path)) == []
        while not (tmp_path / "logs").exists():  # in the test the process lives on
            time.sleep(0.01)


def test_what_beats_lives_and_what_is_switched_off_sees_nothing(tmp_path) -> None:
    left, pulse = [], Pulse()
    with Ledger(str(tmp_path), "worker-0", run="tiny") as ledger:
        with Deadman(pulse, Hangs(least_s=60.0), ledger, 0, leave=left.append):
            pulse.beat()
        off = Hangs(least_s=0.001, start_s=0.001, on_hang="ignore")
        with Deadman(Pulse(), off, ledger, 0, leave=left.append) as deadman:
            assert not deadman._thread.is_alive()
    assert left == []
