"""Drawing images: a TARFlow (64x64 images, patch 4, width 384, 4 blocks of 4 layers, 8 at a time),
and a flow of STARFlow's form, a deep block behind shallow ones.

By itself: seconds a batch without and with guidance, by Jacobi iteration too, with operations,
their share of what products of matrices reach in the same run, bytes that have to be read, memory;
and several batches streamed through the blocks, beside the same ones one after the other.
With `--against` a checkout of ml-tarflow or ml-starflow: the flow of its form, beside its sampler
with equal weights from the same noise, both sides in turn, and how far apart the images are.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.flow import Flow
from tests.benchmarks.child import in_child
from tests.benchmarks.parts.ceiling import elapsed
from tests.benchmarks.parts.ceiling import measured_ceiling
from tests.benchmarks.parts.peers import opened
from tests.benchmarks.parts.sampling import PLAIN
from tests.benchmarks.parts.sampling import Ours
from tests.benchmarks.parts.sampling import Task
from tests.benchmarks.parts.sampling import Theirs
from tests.benchmarks.parts.sampling import apart
from tests.benchmarks.parts.sampling import work_of
from tests.benchmarks.parts.training import peak_bytes
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least
from tests.benchmarks.rows import at_most
from tests.benchmarks.rows import every_round
from tests.benchmarks.rows import median_row
from tests.benchmarks.rows import ratios
from tests.golden.cases import STARFLOW
from tests.golden.cases import TARFLOW

GIGA, MB = 1e9, 1e6
FARTHEST = 1e-4  # between the images of both samplers, float32
# How many times a peer's images a second, without guidance and with it.
BOUNDS = {
    "cpu": {"ml_tarflow": (2.0, 3.0), "ml_starflow": (1.5, 1.5)},
    "cuda": {"ml_tarflow": (4.0, 4.0), "ml_starflow": (3.0, 3.0)},
}


def _tasks() -> dict[str, Task]:
    tarflow = Flow(width=384, depths=(4, 4, 4, 4), patch=4, **TARFLOW)
    starflow = Flow(width=384, depths=(1, 1, 8), **STARFLOW)
    linear = Sampler(guidance=1.0, guidance_rule="linear", guidance_blocks="all")
    return {
        "ml_tarflow": Task(tarflow, side=16, channels=3, classes=10, batch=8, guided=linear),
        "ml_starflow": Task(
            starflow, side=16, channels=16, classes=10, batch=8, guided=Sampler(guidance=1.5)
        ),
    }


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: rounds, and what is drawn, by the peer that has its form."""

    rounds: int = 7
    streamed: int = 4  # batches, in half of the rounds
    in_flight: int = 2  # of them
    tasks: dict[str, Task] = field(default_factory=_tasks)
    iterated: dict[str, Any] = field(
        default_factory=lambda: {"jacobi_blocks": "all", "jacobi_chunk": 32}
    )


def rows(scale: Scale = Scale(), against: Path | None = None) -> Iterator[Row]:
    """All rows, about ten minutes on two cores."""
    yield from in_child(measured, scale, against)


def measured(scale: Scale, against: Path | None) -> list[Row]:
    """The rows, measured in this process."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if against is None:
        ceiling = measured_ceiling(torch.float32, device)
        found = [Row("product of matrices in float32, at most", ceiling / GIGA, "GFLOP/s")]
        for name, task in scale.tasks.items():
            ours, said = Ours.of(task, device), name.removeprefix("ml_")
            found += _alone(said, ours, scale, ceiling)
            found += _streamed(said, ours, scale)
        return found
    with ExitStack() as stack:
        peer = stack.enter_context(opened(against))
        ours = Ours.of(scale.tasks[peer.kind], device)
        return [*_beside(ours, Theirs(peer, ours), peer.kind, scale.rounds)]


def _alone(name: str, ours: Ours, scale: Scale, ceiling: float) -> Iterator[Row]:
    device, batch = ours.noise.device, ours.task.batch
    iterated = {"decoding": "jacobi", **scale.iterated}
    ways = {
        "plain": PLAIN,
        "guided": ours.task.guided,
        "iterated": Sampler(**PLAIN.model_dump() | iterated),
    }
    timed = every_round(
        {way: partial(elapsed, partial(ours.images, each), device) for way, each in ways.items()},
        scale.rounds,
    )
    for way, sampler in ways.items():
        seconds, work, said = timed[way], work_of(ours, sampler), f"{name}, {way}"
        shares = [100 * work.operations / one / ceiling for one in seconds]
        rates = [work.bytes / one / GIGA for one in seconds]
        yield median_row(f"{said}: a batch of {batch}", seconds, "s")
        yield Row(f"{said}: passes through a block", work.passes, "")
        yield Row(f"{said}: operations of a batch", work.operations / GIGA, "GFLOP")
        yield median_row(f"{said}: of the product of matrices (MFU)", shares, "%")
        yield Row(f"{said}: weights, keys and values to be read", work.bytes / GIGA, "GB")
        yield median_row(f"{said}: of them in a second", rates, "GB/s")
    draw = partial(ours.images, PLAIN)
    yield Row(f"{name}, plain: memory that a batch takes", peak_bytes(draw, device) / MB, "MB")
    off = apart(ours.images(PLAIN), ours.images(ways["iterated"]))
    yield Row(f"{name}, iterated: farthest from plain", off, "")
    faster = ratios(timed["plain"], timed["iterated"])
    yield median_row(f"{name}: iterated, in the time of plain", faster, "x")


def _streamed(name: str, ours: Ours, scale: Scale) -> Iterator[Row]:
    """Batches as through a pipeline, and the same ones one after the other."""
    device, count = ours.noise.device, scale.streamed
    ways = {"one after the other": 1, f"{scale.in_flight} in flight": scale.in_flight}
    each = {way: partial(ours.stream, count, in_flight) for way, in_flight in ways.items()}
    one, other = ([*drawn()] for drawn in each.values())
    off = max(apart(*pair) for pair in zip(one, other, strict=True))
    yield Row(f"{name}, streamed: farthest from one after the other", off, "", at_most(0))
    timed = every_round(
        {way: partial(elapsed, drawn, device) for way, drawn in each.items()},
        max(1, scale.rounds // 2),
        warm_up=0,  # both have just drawn
    )
    for way, seconds in timed.items():
        yield median_row(f"{name}, {way}: {count} batches of {ours.task.batch}", seconds, "s")
    faster = ratios(*timed.values())
    yield median_row(f"{name}: streamed / one after the other, images a second", faster, "x")


def _beside(ours: Ours, theirs: Theirs, peer: str, rounds: int) -> Iterator[Row]:
    device, batch = ours.noise.device, ours.task.batch
    ways = {"without guidance": PLAIN, "guided": ours.task.guided}
    bounds = dict(zip(ways, BOUNDS[device.type][peer], strict=True))
    for way, sampler in ways.items():
        mine, other = (
            partial(ours.images, sampler),
            partial(theirs.images, sampler.guidance),
        )
        off = apart(mine(), other())
        yield Row(f"{way}: farthest apart, any number of any image", off, "", at_most(FARTHEST))
        timed = every_round(
            {"ours": partial(elapsed, mine, device), peer: partial(elapsed, other, device)},
            rounds,
            warm_up=0,  # both have just drawn
        )
        for name, each in timed.items():
            yield median_row(f"{way}: {name}, a batch of {batch}", each, "s")
        faster = ratios(timed[peer], timed["ours"])
        yield median_row(
            f"{way}: ours / {peer}, images a second", faster, "x", at_least(bounds[way])
        )
