"""An hour of bad weather: a run on several nodes, killed and resized by a plan that a seed draws.

First a short run in the same weather, of which the costs are taken; from these the simulation says
what the long one will come to, before that one starts. Then the long one, and what it came to.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.foundation.config import Resolved
from system.foundation.errors import ExitCode
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.observe.goodput.schedule import MINUTE_S
from system.observe.goodput.schedule import Schedule
from system.observe.goodput.schedule import foreseen
from system.observe.goodput.table import text
from system.telemetry.goodput import account
from system.telemetry.ledger import Event
from system.telemetry.ledger import read_ledger
from tests.faults.nodes import ROOT
from tests.faults.nodes import Nodes
from tests.faults.nodes import ray_nodes
from tests.faults.soak_report import costs_of
from tests.faults.soak_report import keep
from tests.faults.soak_report import outcome
from tests.faults.soak_report import pace
from tests.faults.soak_report import told_forecast

LOOK_S = 0.2
PATIENCE_S = 300.0
# Shares of an equal part of the run in which its disturbance may fall: so no two are neighbours.
WITHIN = (0.15, 0.85)
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}

Act = Literal["kill", "resize"]


class Soak(Record):
    """A soak: how long, how rough, and where it writes."""

    out: str = Field("runs/soak", description="folder for shards, runs, logs and the report")
    minutes: PositiveFloat = Field(60.0, description="wall time of the run that is measured")
    kills: int = Field(3, ge=0, description="workers that are killed with SIGKILL, at drawn times")
    seed: int = Field(0, ge=0, description="of the times, and of which of them is the resize")
    calibration_minutes: PositiveFloat = Field(
        6.0, description="wall time of the run before it, which the costs are taken from"
    )
    images: PositiveInt = Field(
        4_000_000, description="run.total_images: more than the minutes allow, as the run is ended"
    )
    report_every_images: PositiveInt = Field(320, description="of the runs")
    checkpoint_every_images: PositiveInt = Field(3200, description="of the runs")
    evaluate_every_images: PositiveInt = Field(128_000, description="of the runs")
    changes: tuple[str, ...] = Field((), description="further key=value for the runs' recipe")


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that ends a run's workers, at a time after the start of its driver."""

    at_s: float
    act: Act


def plan(minutes: float, kills: int, seed: int) -> list[Disturbance]:
    """Kills and one resize, each in a part of the run of its own; the resize in the second half.

    They stand at the same shares of a run of any length.
    """
    draws = random.Random(seed)
    parts = kills + 1
    resized = draws.randrange(parts // 2, parts)
    length = minutes * MINUTE_S / parts
    times = [(part + draws.uniform(*WITHIN)) * length for part in range(parts)]
    acts: list[Act] = ["resize" if part == resized else "kill" for part in range(parts)]
    return [Disturbance(at_s, act) for at_s, act in zip(times, acts, strict=True)]


def schedule(minutes: float, planned: list[Disturbance], interval_s: float) -> Schedule:
    """A plan in the words of the simulation."""
    at: dict[Act, tuple[float, ...]] = {
        act: tuple(one.at_s / MINUTE_S for one in planned if one.act == act)
        for act in ("kill", "resize")
    }
    return Schedule(minutes=minutes, kills=at["kill"], resizes=at["resize"], interval_s=interval_s)


def packed(out: Path) -> str:
    """The digits, packed once."""
    place = out / "shards"
    if not place.exists():
        pack(PackRecipe(source=Digits(), out=str(place), channels=1, held_out_fraction=0.2))
    return str(place)


def soaked(request: Soak, name: str, minutes: float, planned: list[Disturbance]) -> str:
    """Run the recipe for so long on nodes of its own, and disturb it; the run's folder.

    One node for a worker, one for evaluations (or a second worker, as Ray has it), and at the
    resize one more.
    """
    out = Path(request.out).resolve()
    with ray_nodes(out / "logs" / name) as nodes:
        nodes.add()
        nodes.add()
        run = Disturbed(request, name, nodes, out)
        try:
            for each in [*planned, None]:
                run.go_on_until(minutes * MINUTE_S if each is None else each.at_s)
                if each is not None:
                    run.disturb(each.act)
        finally:
            run.end()
    return str(run.folder)


class Disturbed:
    """A run, and what is done to it."""

    def __init__(self, request: Soak, name: str, nodes: Nodes, out: Path) -> None:
        self.folder = out / "runs" / name
        self._nodes = nodes
        self._log = (out / "logs" / f"{name}.log").open("w")
        self._started = time.monotonic()
        self._job = subprocess.Popen(
            [sys.executable, "jobs/simflow_digits.py", *self._settings(request, name, out)],
            cwd=ROOT,
            env=os.environ | ENVIRONMENT | nodes.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @staticmethod
    def _settings(request: Soak, name: str, out: Path) -> list[str]:
        return [
            f"run.root={out / 'runs'}", f"run.name={name}", f"data.shards={out / 'shards'}",
            f"run.total_images={request.images}",
            f"run.report_every_images={request.report_every_images}",
            f"run.checkpoint_every_images={request.checkpoint_every_images}",
            f"evaluation.every_images={request.evaluate_every_images}",
            "cluster.workers=2", "cluster.min_workers=1", "cluster.resize_interval_s=5",
            "data.workers=1",  # decoding in the loop is a wait of nearly a hundredth
            *request.changes,
        ]  # fmt: skip

    def go_on_until(self, at_s: float) -> None:
        """Leave the run alone until so many seconds after its start."""
        while (left := at_s - (time.monotonic() - self._started)) > 0:
            if self._job.poll() is not None:
                raise RuntimeError(f"the run ended by itself: see {self._log.name}")
            time.sleep(min(LOOK_S, left))

    def disturb(self, act: Act) -> None:
        """Kill the first worker of the newest attempt, or have a node join."""
        told = f"{time.monotonic() - self._started:7.1f} s: {act}"
        if act == "resize":
            print(f"{told}, node {self._nodes.add()} joins", flush=True)
            return
        process = self._worker()
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        print(f"{told} of worker process {process}", flush=True)

    def _worker(self) -> int:
        """The first worker's process, once it trains."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            events = read_ledger(str(self.folder))
            started = list(of_kind(events, "attempt_started"))
            newest = started[-1]["attempt"] if started else 0
            if any(each["attempt"] == newest for each in of_kind(events, "first_update")):
                return int(started[-1]["process"])
            time.sleep(LOOK_S)
        raise RuntimeError(f"nothing trains: see {self._log.name}")

    def end(self) -> None:
        """End the run, which has images left."""
        if self._job.poll() is None:
            self._job.send_signal(signal.SIGTERM)
        self._job.wait(PATIENCE_S)
        self._log.close()


def of_kind(events: list[Event], kind: str) -> Iterator[Event]:
    """The events of a kind."""
    return (each for each in events if each["kind"] == kind)


def main(resolved: Resolved[Soak]) -> int:
    """Calibrate, foresee, soak, and tell."""
    request = resolved.recipe
    out = Path(request.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    packed(out)
    minutes = request.calibration_minutes
    # The same plan in small, since two workers start and save slower than one.
    before = soaked(request, "calibration", minutes, plan(minutes, request.kills, request.seed))
    keep(out, "calibration.txt", text(account(read_ledger(before))))
    planned = plan(request.minutes, request.kills, request.seed)
    interval_s = request.checkpoint_every_images / pace(read_ledger(before))
    scheduled, costs = schedule(request.minutes, planned, interval_s), costs_of(before)
    keep(out, "forecast.txt", told_forecast(scheduled, costs, before))
    run = soaked(request, "soak", request.minutes, planned)
    found = outcome(run, scheduled, foreseen(scheduled, costs))
    keep(out, "soak.txt", found.text)
    return ExitCode.DONE if found.holds else ExitCode.FAILED
