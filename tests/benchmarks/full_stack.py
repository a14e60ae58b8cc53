"""What the whole system costs over a bare loop: per step, at the start, and in memory.

One side is a run of the digits recipe with `ray job submit` on a Ray that stands: driver, Ray
Train, one worker, DeepSpeed, loader, ledger, checkpoint. The other is a script that trains the same
model on the same batches. They take turns, each in fresh processes, one thread each; the flow is
wider and the batch larger than the recipe's, so that a step takes half a second or more. Memory is
compared at the recipe's own size, where activations do not hide the rest.
"""

import statistics
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from system.launch.local_ray import local_ray
from tests.benchmarks.parts.submitted import Side
from tests.benchmarks.parts.submitted import bare
from tests.benchmarks.parts.submitted import prepare
from tests.benchmarks.parts.submitted import submitted
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least
from tests.benchmarks.rows import at_most

MB = 1e6
PARTS = {
    "accepted": "the job is accepted",
    "driver": "the driver has checked everything",
    "worker": "Ray starts the worker's process",
    "imported": "the worker has its imports behind it",
    "first": "the first update is done",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int = 4
    updates: int = 24
    passed_over: int = 4
    settings: tuple[str, ...] = (
        "cluster.workers=1", "cluster.device=cpu", "wandb.mode=disabled",
    )  # fmt: skip
    wide: tuple[str, ...] = ("run.global_batch=256", "flow.width=192")
    recipes_own: int = 200  # updates at the recipe's own size, for its memory


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about five minutes on two cores."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        given = (*scale.settings, *scale.wide)
        work = prepare(Path(folder), given, scale.updates, scale.passed_over)
        own = prepare(Path(folder), scale.settings, scale.recipes_own, scale.passed_over)
        stacks, bares, parts = [], [], []
        with local_ray(cpus=2, port=0) as here:
            for number in range(scale.rounds):
                bares.append(bare(work))
                stack, started = submitted(work, here, f"round-{number}")
                stacks.append(stack)
                parts.append(started)
            small = (submitted(own, here, "own")[0], bare(own))
    yield from compared(stacks, bares)
    yield from memory(*small)
    for part, said in PARTS.items():
        took = statistics.median(each[part] for each in parts)
        yield Row(f"from `ray job submit`: {said}", took, "s")


def compared(stacks: Sequence[Side], bares: Sequence[Side]) -> Iterator[Row]:
    """Steps and starts beside each other, pair by pair."""
    pairs = [*zip(stacks, bares, strict=True)]
    yield Row("bare: step", statistics.median(one.step for one in bares), "s", at_least(0.5))
    yield Row("full stack: step", statistics.median(one.step for one in stacks), "s")
    slower = [100 * (stack.step / alone.step - 1) for stack, alone in pairs]
    yield Row("full stack over bare: step", statistics.median(slower), "%", at_most(5))
    worked = [100 * (stack.worked / alone.worked - 1) for stack, alone in pairs]
    yield Row("the same in time on the processor", statistics.median(worked), "%")
    yield Row("bare: imports and model", statistics.median(one.ready for one in bares), "s")
    beyond = [stack.first - alone.ready for stack, alone in pairs]
    yield Row("submit to first step, beyond that", statistics.median(beyond), "s", at_most(10))


def memory(stack: Side, alone: Side) -> Iterator[Row]:
    """What each side had in memory at most, at the size of the recipe itself."""
    yield Row("bare: peak memory", alone.peak_bytes / MB, "MB")
    yield Row("worker: peak memory", stack.peak_bytes / MB, "MB")
    ratio = stack.peak_bytes / alone.peak_bytes
    yield Row("worker / bare: peak memory", ratio, "x", at_most(1.5))
