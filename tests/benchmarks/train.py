"""The training step of a TARFlow: 64x64 images, patch 4, width 384, 4 blocks of 4 layers, 8 images.

By itself: images a second, operations, their share of what products of matrices reach in the same
run, memory. With `--against` a checkout of ml-tarflow: the same beside its step with equal weights
in bf16, both sides in turn. On a GPU, where there is one, and there also compiled.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from system.foundation.errors import BadInput
from system.foundation.nouns import Batch
from tests.benchmarks.child import in_child
from tests.benchmarks.parts.ceiling import elapsed
from tests.benchmarks.parts.ceiling import measured_ceiling
from tests.benchmarks.parts.peers import opened
from tests.benchmarks.parts.peers import weights_of
from tests.benchmarks.parts.training import Ours
from tests.benchmarks.parts.training import Theirs
from tests.benchmarks.parts.training import batch_of
from tests.benchmarks.parts.training import counted
from tests.benchmarks.parts.training import flow_of
from tests.benchmarks.parts.training import ours
from tests.benchmarks.parts.training import peak_bytes
from tests.benchmarks.parts.training import recipe_of
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least
from tests.benchmarks.rows import at_most
from tests.benchmarks.rows import every_round
from tests.benchmarks.rows import median_row
from tests.benchmarks.rows import ratios

GIGA, MB, MS = 1e9, 1e6, 1e3
SETTINGS = (
    "flow.width=384", "flow.depths=[4, 4, 4, 4]", "flow.patch=4", "run.global_batch=8",
)  # fmt: skip
# How many times a peer's images a second: its code as it is, and its code compiled.
BOUNDS = {"cpu": {"eager": 1.3}, "cuda": {"eager": 2.0, "compiled": 1.2}}
# Ours, by what it is compared as. On a CPU a first compiled step takes longer than the suite.
OURS = {
    "cpu": {"ours": "engine.compile=false"},
    "cuda": {"ours": "engine.compile=true", "ours, eager": "engine.compile=false"},
}
COMPILED = ("ours", "compiled")  # on a GPU these cannot be counted operation by operation


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured, and settings for the published recipe for 64x64."""

    rounds: int = 9
    steps: int = 4  # of a round and side, on as many batches
    settings: tuple[str, ...] = SETTINGS


def rows(scale: Scale = Scale(), against: Path | None = None) -> Iterator[Row]:
    """All rows, about three minutes on two cores that have nothing else to do."""
    yield from in_child(measured, scale, against)


def measured(scale: Scale, against: Path | None) -> list[Row]:
    """The rows, measured in this process."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = recipe_of(scale.settings, device)
    flow, sides = flow_of(recipe), dict[str, Ours | Theirs]()
    batches = [batch_of(recipe, number, device) for number in range(scale.steps)]
    found: list[Row] = []
    with ExitStack() as stack:
        for name, how in OURS[device.type].items():
            made = recipe_of((*scale.settings, how), device)
            sides[name] = stack.enter_context(ours(made, flow, device))
        if against is not None:
            peer = stack.enter_context(opened(against))
            if peer.kind != "ml_tarflow":
                raise BadInput(f"--against {against}: found {peer.kind}, expected ml-tarflow")
            model = peer.model(weights_of(flow, recipe.data.image_channels))
            first = batch_of(recipe, 0, torch.device("cpu"))
            apart = peer.farthest(model, flow, first.image, first.label)
            found.append(
                Row("both forward passes in float32, largest difference", apart, "", at_most(1e-4))
            )
            sides |= {
                f"{peer.kind}, {mode}": Theirs(peer, recipe, flow, device, mode=mode)
                for mode in BOUNDS[device.type]
            }
        found += _timed(sides, batches, scale.rounds, device)
    return found


def _timed(
    sides: dict[str, Ours | Theirs], batches: list[Batch], rounds: int, device: torch.device
) -> Iterator[Row]:
    images = len(batches[0].label)
    flops, memory = {}, {}
    for name, side in sides.items():
        side.step(batches[0])  # states of the optimiser are made, kernels chosen
        if device.type == "cpu" or name.rpartition(", ")[2] not in COMPILED:
            flops[name] = counted(partial(side.step, batches[-1]))
            memory[name] = peak_bytes(partial(side.step, batches[-1]), device)
    ceiling = measured_ceiling(torch.bfloat16, device)

    worked: dict[str, list[float]] = {name: [] for name in sides}

    def seconds(name: str) -> float:
        began = time.process_time()
        taken = elapsed(lambda: [sides[name].step(batch) for batch in batches], device)
        worked[name].append(time.process_time() - began)
        return taken / len(batches)

    timed = every_round({name: partial(seconds, name) for name in sides}, rounds)
    yield Row("product of matrices in bf16, at most", ceiling / GIGA, "GFLOP/s")
    for name, each in timed.items():
        yield median_row(f"{name}: images", [images / one for one in each], "images/s")
        yield median_row(f"{name}: step", [MS * one for one in each], "ms")
        counts = flops.get(name) or flops["ours, eager"]
        shares = [100 * counts / one / ceiling for one in each]
        yield median_row(f"{name}: of the product of matrices (MFU)", shares, "%")
        if name in flops:
            yield Row(f"{name}: operations of a step", flops[name] / GIGA, "GFLOP")
            yield Row(f"{name}: memory that a step takes", memory[name] / MB, "MB")
    for name in [each for each in timed if each not in OURS[device.type]]:
        bound = at_least(BOUNDS[device.type][name.rpartition(", ")[2]])
        faster = ratios(timed[name], timed["ours"])
        yield median_row(f"ours / {name}: images a second", faster, "x", bound)
        if device.type == "cpu":  # what other programs on the machine change least
            on_cores = ratios(worked[name][-rounds:], worked["ours"][-rounds:])
            yield median_row(f"ours / {name}: the same in time on the cores", on_cores, "x")
