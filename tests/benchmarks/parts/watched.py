"""Training steps with everybody watching and with nobody, in turn, block by block.

One process trains. Watched, it writes a report to its ledger every so many steps; a second process
does with that what a run's driver does (account of time, console, wandb, gauges of Ray), and a
third is the exporter, scraped every second. Unwatched, nothing is written and all others are
stopped (SIGSTOP).
"""

import contextlib
import io
import multiprocessing
import os
import signal
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
import torch

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from data_pipeline.stream.stream import Stream
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.foundation.settings.run import Wandb
from system.foundation.world import World
from system.launch.local_ray import local_ray
from system.launch.prometheus_sink import PrometheusSink
from system.observe.exporter.serving import Exporting
from system.observe.exporter.serving import serving
from system.telemetry.console import Console
from system.telemetry.goodput import LiveAccount
from system.telemetry.ledger import Follower
from system.telemetry.ledger import Ledger
from system.telemetry.wandb_sink import WandbSink
from system.train.assemble import assemble
from system.train.loop import open_training_stream
from system.train.report import Window
from system.train.state import TrainState
from system.train.update import update
from tests.benchmarks.parts.beside import CONFIG
from tests.benchmarks.parts.beside import FAR
from tests.benchmarks.parts.beside import PASSED_OVER
from tests.benchmarks.parts.beside import Steps

STEPS_PER_REPORT = 20  # as the digits recipe has it


@dataclass(frozen=True, slots=True)
class Found:
    """Blocks in pairs, reports that reached every sink, and scrapes that were answered."""

    unwatched: list[Steps]
    watched: list[Steps]
    shown: int
    lost: int
    scrapes: int


def timed_in_turn(folder: Path, pairs: int, steps: int, settings: Sequence[str]) -> Found:
    """Time `pairs` blocks of `steps` training steps each way, the order turning about."""
    shards = str(folder / "shards")
    pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
    recipe = resolve(
        CONFIG,
        [f"data.shards={shards}", f"run.root={folder}", "run.name=watched",
         f"run.total_images={FAR}", *settings],
    ).recipe  # fmt: skip
    torch.set_num_threads(1)
    with local_ray(cpus=1.0) as here, _watchers(f"{folder}/watched", here) as watchers:
        return _blocks(recipe, watchers, pairs, steps)


class _Watchers:
    """All processes that look on, to be stopped and woken together."""

    def __init__(self, processes: Sequence[Any], counts: Sequence[Any]) -> None:
        self._processes = [psutil.Process(process.pid) for process in processes]
        self.shown, self.lost, self.scrapes = counts

    def signal(self, number: int) -> None:
        for process in self._processes:
            for each in (*process.children(recursive=True), process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.send_signal(number)


@contextmanager
def _watchers(run_url: str, here: Any) -> Iterator[_Watchers]:
    context = multiprocessing.get_context("spawn")
    shown, lost, scrapes = (context.Value("i", 0) for _ in range(3))
    # Before they start: Ray reads some of it as it is imported, and seeks its node elsewhere after.
    os.environ.update(here.environment | {"RAY_ADDRESS": here.address, "WANDB_MODE": "offline"})
    processes = [
        context.Process(target=_drive, args=(run_url, shown, lost)),
        context.Process(target=_export, args=(os.path.dirname(run_url), scrapes)),
    ]
    with Ledger(run_url, "worker-0", run="watched", attempt=1) as ledger:
        ledger.write("attempt_started", workers=1)
        ledger.write("first_update", images_seen=1, seconds=0.1, data_wait_s=0.0)
        ledger.write("report", images_seen=2, values={"loss/total": 1.0})
    for process in processes:
        process.start()
    watchers = _Watchers(processes, (shown, lost, scrapes))
    try:
        while not (shown.value and scrapes.value):
            assert all(process.is_alive() for process in processes)
            time.sleep(0.1)
        yield watchers
    finally:
        watchers.signal(signal.SIGKILL)
        for process in processes:
            process.join()


def _drive(run_url: str, shown: Any, lost: Any) -> None:
    """What a driver does with news, every half second as it does."""
    ray.init(logging_level="ERROR")
    follower, spent = Follower(run_url), LiveAccount()
    mirror = WandbSink(Wandb(mode="offline"), run_url, {})
    gauges = PrometheusSink("watched")
    with contextlib.redirect_stdout(io.StringIO()):
        console = Console(FAR)
        while True:
            for event in spent.with_news(follower.poll()):
                for sink in (console, mirror, gauges):
                    sink.show(event)
                shown.value += event["kind"] == "report"
            lost.value = mirror.failures + gauges.failures
            time.sleep(0.5)


def _export(root: str, scrapes: Any) -> None:
    with serving(Exporting(root=root, port=0, every_s=1.0)) as url:
        while True:
            with urllib.request.urlopen(url) as answer:
                scrapes.value += b"latent_flows_loss_total" in answer.read()
            threading.Event().wait(1.0)


def _blocks(recipe: Recipe, watchers: _Watchers, pairs: int, steps: int) -> Found:
    state = assemble(recipe, World(), read_manifest(recipe.data.shards), attempt=1)
    folder = f"{recipe.run.root}/watched"
    with Ledger(folder, "worker-1", run=recipe.run.name, attempt=1) as ledger:
        stream = open_training_stream(state, ledger)
        _block(state, stream, None, 20)
        sides = {"unwatched": signal.SIGSTOP, "watched": signal.SIGCONT}
        found: dict[str, list[Steps]] = {"unwatched": [], "watched": []}
        for number in range(pairs):
            for side in list(sides) if number % 2 == 0 else list(reversed(sides)):
                watchers.signal(sides[side])
                told = ledger if side == "watched" else None
                found[side].append(_block(state, stream, told, steps))
        watchers.signal(signal.SIGCONT)
        stream.close()
    state.close()
    written = 1 + pairs * ((PASSED_OVER + steps) // STEPS_PER_REPORT)
    deadline = time.monotonic() + 60
    while watchers.shown.value < written and time.monotonic() < deadline:
        time.sleep(0.1)
    counts = (watchers.shown.value, watchers.lost.value, watchers.scrapes.value)
    return Found(found["unwatched"], found["watched"], *counts)


def _block(state: TrainState, stream: Stream, ledger: Ledger | None, steps: int) -> Steps:
    """Steps of training as the loop does them, a report every so many among them."""
    wall, processor = [], []
    window = Window(state.world)
    for number in range(1, PASSED_OVER + steps + 1):
        began, worked = time.perf_counter(), time.process_time()
        window.add(update(state, stream))
        if number % STEPS_PER_REPORT == 0:
            values = window.read()
            if ledger is not None:
                ledger.write("report", images_seen=state.progress.images_seen, values=values)
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - worked)
    return Steps(wall[PASSED_OVER:], processor[PASSED_OVER:])


def slowdown(
    unwatched: Sequence[Sequence[float]], watched: Sequence[Sequence[float]]
) -> list[float]:
    """By how much a watched block is slower than its partner, as a share; ascending.

    A block counts by its mean, since a report comes only now and then and shall count.
    """
    return sorted(
        statistics.fmean(b) / statistics.fmean(a) - 1
        for a, b in zip(unwatched, watched, strict=True)
    )
