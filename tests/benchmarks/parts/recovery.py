"""A real run on a Ray of its own, one of whose workers is killed; and what it starts with, bare."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from system.telemetry.ledger import Event
from system.telemetry.ledger import read_ledger

ROOT = Path(__file__).parents[3]
JOB, CONFIG = ROOT / "jobs" / "simflow_digits.py", ROOT / "configs" / "simflow_digits.yaml"
PATIENCE_S = 600.0
# What a bare worker is started with, after its rank.
BARE = "import sys; from tests.benchmarks.parts.bare import restore; restore(*sys.argv[1:])"


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from a kill to what followed on it, one after the other."""

    noticed: float  # the driver knows of the failure
    started: float  # the first worker of the next attempt has its imports behind it
    restored: float
    updated: float  # its first update
    new: float  # an update that no attempt before had done
    replayed: int  # updates


class Run:
    """The digits recipe on workers of its own Ray, a report with every update."""

    def __init__(self, folder: Path, shards: str, workers: int, settings: Sequence[str]) -> None:
        self.url = f"{folder}/recovery"
        self.settings = [
            f"run.root={folder}", f"data.shards={shards}", "run.name=recovery",
            "run.total_images=100000000", "run.global_batch=64", "run.report_every_images=64",
            "run.checkpoint_every_images=640", f"cluster.workers={workers}",
            "cluster.max_failures=-1", "evaluation.kind=none", *settings,
        ]  # fmt: skip
        self._said = folder / "said.txt"

    def __enter__(self) -> "Run":
        known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self._job = subprocess.Popen(
            [sys.executable, str(JOB), *self.settings],
            cwd=ROOT,
            env=known | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"},
            stdout=self._said.open("w"),
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *_: Any) -> None:
        self._job.terminate()  # a Ctrl-C is not heard by what a shell has started behind `&`
        try:
            self._job.wait(PATIENCE_S)
        finally:
            self._job.kill()  # its Ray ends with it
            self._job.wait()

    def kill_and_recover(self) -> Recovery:
        """Kill the first worker just after a checkpoint, and wait for the next new update."""
        before = max((e["attempt"] for e in self._events("attempt_started")), default=0)
        started = self._first("attempt_started", lambda e: e["attempt"] >= max(1, before))
        attempt = started["attempt"]
        saved = len(self._events("checkpoint"))
        while len(self._events("checkpoint")) < saved + 2:
            self._pause()
        os.kill(started["process"], signal.SIGKILL)
        killed = time.time()
        seen = max(e["images_seen"] for e in self._events("report"))

        def after(kind: str, images: int = 0) -> Event:
            return self._first(
                kind, lambda e: e["attempt"] > attempt and e.get("images_seen", 0) >= images
            )

        new = after("report", seen + 64)
        resumed = after("resumed")
        return Recovery(
            self._first("worker_failed", lambda e: e["time"] >= killed)["time"] - killed,
            after("attempt_started")["time"] - killed,
            resumed["time"] - killed,
            after("first_update")["time"] - killed,
            new["time"] - killed,
            (seen - resumed["images_seen"]) // 64,
        )

    def _events(self, kind: str) -> list[Event]:
        return [event for event in read_ledger(self.url) if event["kind"] == kind]

    def _first(self, kind: str, is_it: Any) -> Event:
        end = time.monotonic() + PATIENCE_S
        while True:
            if found := [event for event in self._events(kind) if is_it(event)]:
                return found[0]
            assert time.monotonic() < end, f"no {kind}: {self._said.read_text()[-2000:]}"
            self._pause()

    def _pause(self) -> None:
        assert self._job.poll() is None, self._said.read_text()[-2000:]
        time.sleep(0.1)


def bare_seconds(run: Run, folder: Path, workers: int) -> dict[str, float]:
    """Seconds from the start of as many processes until the slowest is ready to train.

    Each imports what a worker does, assembles the state, and takes up the newest checkpoint.
    """
    meeting = folder / f"meeting-{time.time_ns()}"
    start = time.time()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", BARE, str(rank), str(workers), str(meeting), *run.settings],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(workers)
    ]
    told = [process.communicate(timeout=PATIENCE_S)[0].split()[-2:] for process in started]
    imported, restored = (max(float(times[at]) for times in told) - start for at in (0, 1))
    return {"imported": imported, "restored": restored}


def medians(found: Sequence[Recovery]) -> Recovery:
    """The middle one of each figure."""
    each = {
        name: statistics.median(getattr(one, name) for one in found)
        for name in Recovery.__dataclass_fields__
    }
    return Recovery(**each)
