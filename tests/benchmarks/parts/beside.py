"""Training steps with and without an evaluation on another core, in turn, block by block.

One process trains, pinned to a core. A second one, pinned to another, evaluates a checkpoint of the
same recipe again and again, and is stopped (SIGSTOP) while a block is timed without it. What they
share is all that can make a difference: the last cache, memory, the disk, the kernel.
"""

import math
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import torch

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from data_pipeline.stream.stream import Stream
from system.engine.checkpoints import CheckpointStore
from system.evaluation.evaluator import evaluate
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.train.alone import train_alone
from system.train.assemble import assemble
from system.train.loop import open_training_stream
from system.train.state import TrainState
from system.train.update import update

CONFIG = Path(__file__).parents[3] / "configs" / "simflow_digits.yaml"
FAR = 10**9
# The steps after a change from one side to the other: caches fill.
PASSED_OVER = 2


@dataclass(frozen=True, slots=True)
class Steps:
    """Seconds of each step of a block: of the clock, and of this process on its core."""

    wall: list[float]
    processor: list[float]


@dataclass(frozen=True, slots=True)
class Found:
    """Blocks in pairs, the evaluations that ended meanwhile, and the share of its core it had."""

    alone: list[Steps]
    beside: list[Steps]
    evaluations: int
    share: float


def timed_in_turn(folder: Path, pairs: int, steps: int, settings: Sequence[str]) -> Found:
    """Time `pairs` blocks of `steps` training steps each way, the order turning about.

    To be called in a process of its own, which it pins to a core. Needs two cores.
    """
    own, other = sorted(os.sched_getaffinity(0))[:2]
    recipe, checkpoint = _prepare(folder, settings)
    context = multiprocessing.get_context("spawn")
    finished = context.Value("i", -1)
    evaluator = context.Process(
        target=_evaluate_for_ever, args=(checkpoint, str(folder / "out"), other, finished)
    )
    evaluator.start()
    try:
        while finished.value < 0:  # its imports, and its first evaluation with all it prepares
            assert evaluator.is_alive()
            time.sleep(0.1)
        os.sched_setaffinity(0, {own})
        return _blocks(recipe, psutil.Process(evaluator.pid), finished, pairs, steps)
    finally:
        evaluator.kill()
        evaluator.join()


def _prepare(folder: Path, settings: Sequence[str]) -> tuple[Recipe, str]:
    """The digits recipe over digits packed here, and a checkpoint of its first updates."""
    shards = str(folder / "shards")
    pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
    first = [
        f"data.shards={shards}", f"run.root={folder}", "run.name=beside", "run.total_images=1280",
        "run.checkpoint_every_images=1280", *settings,
    ]  # fmt: skip
    torch.set_num_threads(1)
    run = train_alone(resolve(CONFIG, first).recipe)
    latest = CheckpointStore(f"{run}/checkpoints").latest()
    assert latest is not None
    return resolve(CONFIG, [*first, f"run.total_images={FAR}"]).recipe, latest.url


def _blocks(
    recipe: Recipe, evaluator: psutil.Process, finished: Any, pairs: int, steps: int
) -> Found:
    state = assemble(recipe, World(), read_manifest(recipe.data.shards))
    with Ledger(f"{recipe.run.root}/timed", "beside", run=recipe.run.name) as ledger:
        stream = open_training_stream(state, ledger)
        _block(state, stream, 20)
        sides = {"alone": signal.SIGSTOP, "beside": signal.SIGCONT}
        found: dict[str, list[Steps]] = {"alone": [], "beside": []}
        ended, worked, lasted = finished.value, 0.0, 0.0
        for number in range(pairs):
            for side in list(sides) if number % 2 == 0 else list(reversed(sides)):
                evaluator.send_signal(sides[side])
                began, before = time.perf_counter(), sum(evaluator.cpu_times()[:2])
                found[side].append(_block(state, stream, steps))
                if side == "beside":
                    lasted += time.perf_counter() - began
                    worked += sum(evaluator.cpu_times()[:2]) - before
        stream.close()
    state.close()
    return Found(found["alone"], found["beside"], finished.value - ended, worked / lasted)


def _block(state: TrainState, stream: Stream, steps: int) -> Steps:
    wall, processor = [], []
    for _ in range(PASSED_OVER + steps):
        began, worked = time.perf_counter(), time.process_time()
        update(state, stream)
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - worked)
    return Steps(wall[PASSED_OVER:], processor[PASSED_OVER:])


def _evaluate_for_ever(checkpoint: str, out: str, core: int, finished: Any) -> None:
    os.sched_setaffinity(0, {core})
    for number in count():
        evaluate(checkpoint, output=out)
        finished.value = number


def slowdown(alone: Sequence[Sequence[float]], beside: Sequence[Sequence[float]]) -> list[float]:
    """By how much a block beside is slower than its partner alone, as a share; ascending.

    A block counts by its median step, so that what else the machine does now and then is left out.
    """
    return sorted(
        statistics.median(b) / statistics.median(a) - 1 for a, b in zip(alone, beside, strict=True)
    )


def interval(ascending: Sequence[float]) -> tuple[float, float]:
    """Between which of the values their population's median lies, with 95 % or more.

    The number of values below it is that of heads among as many coins.
    """
    number, first = len(ascending), 0
    while sum(math.comb(number, heads) for heads in range(first + 2)) <= 0.025 * 2**number:
        first += 1
    return ascending[first], ascending[-1 - first]
