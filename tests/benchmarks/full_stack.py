"""What the whole system costs over a bare loop: per step, at the start, and in memory.

One side is a run of the digits recipe with `ray job submit` on a Ray that stands: driver, Ray
Train, one worker, DeepSpeed, loader, ledger, checkpoint. The other is a script that trains the same
model on the same batches. They take turns, each in fresh processes, one thread each; the flow is
wider and the batch larger than the recipe's, so that a step takes half a second or more. Start and
memory are compared at the recipe's own size, where steps and activations do not hide the rest.
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
Pair = tuple[Side, Side]  # the full stack, and the bare loop


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
    recipes_own: int = 40  # updates at the recipe's own size


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about five minutes on two cores."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        given = (*scale.settings, *scale.wide)
        work = prepare(Path(folder), given, scale.updates, scale.passed_over)
        own = prepare(Path(folder), scale.settings, scale.recipes_own, scale.passed_over)
        wide, small, parts = list[Pair](), list[Pair](), []
        with local_ray(cpus=2, port=0) as here:
            for number in range(scale.rounds):
                alone = bare(work)
                stack, _ = submitted(work, here, f"wide-{number}")
                wide.append((stack, alone))
                alone = bare(own)
                stack, started = submitted(own, here, f"own-{number}")
                small.append((stack, alone))
                parts.append(started)
    yield from steps(wide)
    yield from starts(small)
    for part, said in PARTS.items():
        took = statistics.median(each[part] for each in parts)
        yield Row(f"from `ray job submit`: {said}", took, "s")
    yield from memory(small)


def steps(pairs: Sequence[Pair]) -> Iterator[Row]:
    """An update beside the bare one, pair by pair."""
    yield Row("bare: step", statistics.median(alone.step for _, alone in pairs), "s", at_least(0.5))
    yield Row("full stack: step", statistics.median(stack.step for stack, _ in pairs), "s")
    slower = [100 * (stack.step / alone.step - 1) for stack, alone in pairs]
    yield Row("full stack over bare: step", statistics.median(slower), "%", at_most(5))
    worked = [100 * (stack.worked / alone.worked - 1) for stack, alone in pairs]
    yield Row("the same in time on the processor", statistics.median(worked), "%")


def starts(pairs: Sequence[Pair]) -> Iterator[Row]:
    """How long it takes until the first update is done."""
    ready = statistics.median(alone.ready for _, alone in pairs)
    yield Row("bare: imports and model", ready, "s")
    beyond = [stack.first - alone.ready for stack, alone in pairs]
    yield Row("submit to first step, beyond that", statistics.median(beyond), "s", at_most(10))


def memory(pairs: Sequence[Pair]) -> Iterator[Row]:
    """What each side had in memory at most."""
    bytes_alone = statistics.median(alone.peak_bytes for _, alone in pairs)
    yield Row("bare: peak memory", bytes_alone / MB, "MB")
    bytes_worker = statistics.median(stack.peak_bytes for stack, _ in pairs)
    yield Row("worker: peak memory", bytes_worker / MB, "MB")
    ratios = [stack.peak_bytes / alone.peak_bytes for stack, alone in pairs]
    yield Row("worker / bare: peak memory", statistics.median(ratios), "x", at_most(1.5))
