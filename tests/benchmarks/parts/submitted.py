"""A run of the digits recipe as anyone submits one, and a bare loop in a process of its own.

What a run takes is read from its ledger; how much memory its worker had at most is what the kernel
says of the process.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from data_pipeline.stream.loader import open_stream
from system.foundation.config import resolve
from system.foundation.world import World
from system.launch.local_ray import LocalRay
from system.telemetry.ledger import Event
from system.telemetry.ledger import read_ledger
from tests.benchmarks.report import ROOT

CONFIG = ROOT / "configs" / "simflow_digits.yaml"
JOB = "jobs/simflow_digits.py"
BARE = "import sys; from tests.benchmarks.parts.bare_loop import main; main(*sys.argv[1:])"
PATIENCE_S = 300.0
LOOK_EVERY_S = 0.5
BATCHES = 4  # that the bare loop goes through again and again


@dataclass(frozen=True, slots=True)
class Side:
    """What one life of one side came to, in seconds and bytes."""

    step: float  # mean over all updates but those up to the first report
    worked: float  # of that, on the processor
    ready: float  # from its start until its imports and its model are there
    first: float  # from its start to the end of the first update
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Work:
    """What both sides do."""

    shards: str
    batches: str
    settings: tuple[str, ...]
    updates: int
    passed_over: int  # updates at the start that are not timed: one report's


def prepare(folder: Path, settings: Sequence[str], updates: int, passed_over: int) -> Work:
    """Digits packed, and the first batches of the run as they come, for the bare loop."""
    shards = str(folder / "shards")
    if not Path(shards).exists():
        pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
    given = (f"data.shards={shards}", f"run.root={folder}", "evaluation.kind=none", *settings)
    recipe = resolve(CONFIG, given).recipe
    batch = recipe.run.global_batch
    stream = open_stream(
        read_manifest(shards).split("train"),
        recipe.data,
        seed=recipe.run.seed,
        world=World(),
        global_batch=batch,
        micro_batch=batch,
        images_seen=0,
    )
    taken = [one for one, _ in islice(stream, BATCHES)]
    stream.close()
    pixels = [((one.image + 1) * 127.5).round().byte().numpy() for one in taken]
    batches = str(folder / f"batches-{batch}.npz")
    np.savez(batches, image=np.stack(pixels), label=np.stack([one.label.numpy() for one in taken]))
    sized = (
        f"run.total_images={updates * batch}",
        f"run.report_every_images={passed_over * batch}",
        f"run.checkpoint_every_images={updates * batch}",
    )
    return Work(shards, batches, (*given, *sized), updates, passed_over)


def bare(work: Work) -> Side:
    """The bare loop, in a fresh interpreter."""
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-c", BARE, work.batches, str(work.updates), *work.settings,
         "run.name=bare"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert not done.returncode, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return Side(
        step=statistics.fmean(found["seconds"][work.passed_over :]),
        worked=statistics.fmean(found["worked"][work.passed_over :]),
        ready=found["built"] - start,
        first=found["first"] - start,
        peak_bytes=found["peak_bytes"],
    )


def submitted(work: Work, here: LocalRay, name: str) -> tuple[Side, dict[str, float]]:
    """A run of this name by `ray job submit`; and when each part of its start was over."""
    url = f"{_root_of(work)}/{name}"
    command = [
        str(Path(sys.executable).parent / "ray"), "job", "submit", "--address", here.dashboard,
        "--working-dir", str(ROOT), "--no-wait", "--",
        "python", JOB, *work.settings, f"run.name={name}",
    ]  # fmt: skip
    known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    start = time.time()
    said = subprocess.run(
        command, env=known | here.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not said.returncode, said.stdout[-2000:] + said.stderr[-2000:]
    accepted = time.time() - start
    watch = _Watch(url, start)
    watch.until(lambda events: bool(_of(events, "run_finished")))
    events = read_ledger(url)
    first = _of(events, "first_update")[0]["time"] - start
    began = _of(events, "attempt_started")[0]
    reports = _of(events, "report")
    updates = work.updates - work.passed_over
    parts = {
        "accepted": accepted,
        "driver": watch.driver - start,
        "worker": began["process_started"] - start,
        "imported": began["time"] - start,
        "first": first,
    }
    step = (reports[-1]["time"] - reports[0]["time"]) / updates
    worked = watch.worked(reports[0]["time"], reports[-1]["time"])
    return Side(step, worked * step, began["time"] - start, first, watch.peak_bytes), parts


class _Watch:
    """Looks at a run's ledger, and at its worker's memory and time on the processor."""

    def __init__(self, url: str, start: float) -> None:
        self._url, self._end = url, start + PATIENCE_S
        self._worker: psutil.Process | None = None
        self._looks: list[tuple[float, float]] = []
        self.peak_bytes = 0
        self.driver = 0.0

    def until(self, is_over: Callable[[Sequence[Event]], bool]) -> None:
        """Return when the ledger says so."""
        while not is_over(events := read_ledger(self._url)):
            assert time.time() < self._end, f"{self._url} does not end: {events[-3:]}"
            self._look(events)
            time.sleep(LOOK_EVERY_S)

    def worked(self, since: float, until: float) -> float:
        """The share of that time which the worker was on the processor for."""
        times = [at for at, _ in self._looks]
        low, high = np.interp([since, until], times, [spent for _, spent in self._looks])
        return float((high - low) / (until - since))

    def _look(self, events: Sequence[Event]) -> None:
        if events and not self.driver:
            self.driver = events[0]["time"]
        if self._worker is None and (started := _of(events, "attempt_started")):
            self._worker = psutil.Process(started[0]["process"])
        if self._worker is None:
            return
        with suppress(psutil.Error, OSError):
            spent = self._worker.cpu_times()
            self._looks.append((time.time(), spent.user + spent.system))
            self.peak_bytes = max(self.peak_bytes, peak_bytes(self._worker.pid))


def peak_bytes(process: int) -> int:
    """What a process had in memory at most, as the kernel says; 0 for one that has just ended."""
    status = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    peaks = [line.split()[1] for line in status if line.startswith("VmHWM:")]
    return 1024 * int(peaks[0]) if peaks else 0


def _of(events: Sequence[Event], kind: str) -> list[Any]:
    return [event for event in events if event["kind"] == kind]


def _root_of(work: Work) -> str:
    return next(each.partition("=")[2] for each in work.settings if each.startswith("run.root="))
