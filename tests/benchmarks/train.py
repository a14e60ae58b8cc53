"""The training step of a TARFlow: 64x64 images, patch 4, width 384, 4 blocks of 4 layers, 8 images.

By itself: images a second, operations, their share of what products of matrices reach in the same
run, memory. With `--against` a checkout of ml-tarflow: the same beside its step with equal weights
in bf16, both sides in turn, each in a process of its own with the environment that its launcher
makes. On a GPU, where there is one, and there also compiled.
"""

import time
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from system.foundation.errors import BadInput
from system.foundation.nouns import Batch
from system.foundation.recipe import Recipe
from system.launch.heap import heap_settings
from tests.benchmarks.child import in_child
from tests.benchmarks.parts.apart import Apart
from tests.benchmarks.parts.apart import apart
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
# Ours, by what it is compared as. On a CPU a first compiled step takes longer than the suite; and
# one worker has nobody to share the optimiser's state with, which it has to be told.
OURS: dict[str, dict[str, tuple[str, ...]]] = {
    "cpu": {"ours": ("engine.zero_stage=0",), "ours, the recipe's ZeRO stage": ()},
    "cuda": {"ours": ("engine.compile=true",), "ours, eager": ("engine.compile=false",)},
}
# The peer's: how its code is run, and what its process has in its environment.
THEIRS: dict[str, dict[str, tuple[str, Mapping[str, str]]]] = {
    "cpu": {
        "ml_tarflow, eager": ("eager", {}),
        "ml_tarflow, eager, memory kept as ours": ("eager", heap_settings("cpu", {})),
    },
    "cuda": {"ml_tarflow, eager": ("eager", {}), "ml_tarflow, compiled": ("compiled", {})},
}
# How many times a peer's images a second.
BOUNDS = {
    "cpu": {"ml_tarflow, eager": 1.3},
    "cuda": {"ml_tarflow, eager": 2.0, "ml_tarflow, compiled": 1.2},
}
COMPILED = ("ours", "compiled")  # on a GPU these cannot be counted operation by operation


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured, and settings for the published recipe for 64x64."""

    rounds: int = 9
    steps: int = 4  # of a round and side, on as many batches
    settings: tuple[str, ...] = SETTINGS


def rows(scale: Scale = Scale(), against: Path | None = None) -> Iterator[Row]:
    """All rows, about five minutes on two cores; this process itself computes nothing."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if against is not None:
        yield in_child(_apart_in_float32, scale, against)
    ceiling = in_child(measured_ceiling, torch.bfloat16, torch.device(device))
    yield Row("product of matrices in bf16, at most", ceiling / GIGA, "GFLOP/s")
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(apart(_ours, heap_settings(device), scale, how, device))
            for name, how in OURS[device].items()
        }
        if against is not None:
            sides |= {
                name: stack.enter_context(apart(_theirs, environment, scale, against, mode, device))
                for name, (mode, environment) in THEIRS[device].items()
            }
        yield from _timed(sides, scale, ceiling, device)


def _apart_in_float32(scale: Scale, against: Path) -> Row:
    """How far the two are apart with equal weights, before anything is timed."""
    cpu = torch.device("cpu")
    recipe = recipe_of(scale.settings, cpu)
    flow, first = flow_of(recipe), batch_of(recipe, 0, cpu)
    with opened(against) as peer:
        if peer.kind != "ml_tarflow":
            raise BadInput(f"--against {against}: found {peer.kind}, expected ml-tarflow")
        model = peer.model(weights_of(flow, recipe.data.image_channels))
        found = peer.farthest(model, flow, first.image, first.label)
    return Row("both forward passes in float32, largest difference", found, "", at_most(1e-4))


@dataclass(frozen=True, slots=True)
class _Side:
    """A side in its own process, with the images of a round."""

    stepper: Ours | Theirs
    batches: tuple[Batch, ...]
    device: torch.device


@contextmanager
def _ours(scale: Scale, how: tuple[str, ...], kind: str) -> Iterator[_Side]:
    device = torch.device(kind)
    recipe = recipe_of((*scale.settings, *how), device)
    with ours(recipe, flow_of(recipe), device) as stepper:
        yield _begun(stepper, recipe, scale.steps, device)


@contextmanager
def _theirs(scale: Scale, against: Path, mode: str, kind: str) -> Iterator[_Side]:
    device = torch.device(kind)
    recipe = recipe_of(scale.settings, device)
    with opened(against) as peer:
        stepper = Theirs(peer, recipe, flow_of(recipe), device, mode=mode)
        yield _begun(stepper, recipe, scale.steps, device)


def _begun(stepper: Ours | Theirs, recipe: Recipe, steps: int, device: torch.device) -> _Side:
    side = _Side(stepper, tuple(batch_of(recipe, each, device) for each in range(steps)), device)
    stepper.step(side.batches[0])  # states of the optimiser are made, kernels chosen
    return side


def _counted(side: _Side) -> tuple[int, int]:
    """Operations of a step, and bytes that it takes beside what there is."""
    step = partial(side.stepper.step, side.batches[-1])
    return counted(step), peak_bytes(step, side.device)


def _seconds(side: _Side) -> tuple[float, float]:
    """Of one step of a round: by the clock, and on the cores."""
    began = time.process_time()
    taken = elapsed(lambda: [side.stepper.step(each) for each in side.batches], side.device)
    count = len(side.batches)
    return taken / count, (time.process_time() - began) / count


def _timed(sides: Mapping[str, Apart], scale: Scale, ceiling: float, device: str) -> Iterator[Row]:
    images = recipe_of(scale.settings, torch.device(device)).run.global_batch
    counts = {
        name: side.ask(_counted)
        for name, side in sides.items()
        if device == "cpu" or name.rpartition(", ")[2] not in COMPILED
    }
    worked: dict[str, list[float]] = {name: [] for name in sides}

    def seconds(name: str) -> float:
        taken, on_cores = sides[name].ask(_seconds)
        worked[name].append(on_cores)
        return taken

    timed = every_round({name: partial(seconds, name) for name in sides}, scale.rounds)
    for name, each in timed.items():
        yield median_row(f"{name}: images", [images / one for one in each], "images/s")
        yield median_row(f"{name}: step", [MS * one for one in each], "ms")
        flops, memory = counts.get(name) or counts["ours, eager"]
        shares = [100 * flops / one / ceiling for one in each]
        yield median_row(f"{name}: of the product of matrices (MFU)", shares, "%")
        if name in counts:
            yield Row(f"{name}: operations of a step", flops / GIGA, "GFLOP")
            yield Row(f"{name}: memory that a step takes", memory / MB, "MB")
    yield from _compared(
        timed, {name: each[-scale.rounds :] for name, each in worked.items()}, device
    )


def _compared(
    timed: Mapping[str, list[float]], worked: Mapping[str, list[float]], device: str
) -> Iterator[Row]:
    for name in [each for each in timed if each not in OURS[device]]:
        figure = BOUNDS[device].get(name)
        bound = None if figure is None else at_least(figure)
        faster = ratios(timed[name], timed["ours"])
        yield median_row(f"ours / {name}: images a second", faster, "x", bound)
        if device == "cpu":  # what other programs on the machine change least
            on_cores = ratios(worked[name], worked["ours"])
            yield median_row(f"ours / {name}: the same in time on the cores", on_cores, "x")
