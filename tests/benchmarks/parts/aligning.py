"""Training steps of one flow without alignment and with each way of it, and its reverse passes.

A step is forward and backward of the joint model with its loss. The teacher is on neither side: its
tokens are numbers that lie there. All sides have one flow, and so the same weights.
"""

import gc
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from system.alignment.strategies import pseudo_reverse
from system.alignment.strategies import shared_features
from system.alignment.strategies import shared_passes
from system.flow.flow import Flow
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.foundation.settings.objective import FeatureAlignment
from system.launch.plan.live_bytes import LiveBytes
from system.objectives.alignment import alignment_loss
from system.objectives.joint import JointModel

CONFIGS = Path(__file__).parents[3] / "configs"
PLAIN = "plain"
# By name: what is said of the alignment.
SIDES: dict[str, tuple[str, ...]] = {
    PLAIN: ("objective.alignment.kind=none",),
    **{
        f"{reverse}, {passes}": (
            f"objective.alignment.reverse={reverse}",
            f"objective.alignment.passes={passes}",
        )
        for reverse in ("paper", "straight_through")
        for passes in ("separate", "shared")
    },
}


class Spent(NamedTuple):
    """Seconds of the clock, and of this process on all its processors."""

    wall: float
    worked: float


@dataclass(frozen=True, slots=True)
class Found:
    """What steps took by side and round, bytes alive at most, and the reverse passes."""

    tokens: int
    step: dict[str, list[Spent]]
    peak: dict[str, int]
    off: dict[str, float]  # gradients of shared passes, largest difference over largest gradient
    reverse: dict[str, list[Spent]]


def recipe_of(side: str, settings: Sequence[str] = ()) -> Recipe:
    """The published run with the published variant over it, aligned as a side is."""
    given = [str(CONFIGS / "variants" / "rrepa.yaml"), *settings]
    if side == PLAIN:
        given = [each for each in settings if not each.startswith("objective.alignment.")]
    return resolve(CONFIGS / "tarflow_64_rrepa.yaml", [*given, *SIDES[side]]).recipe


def time_aligning(settings: Sequence[str], rounds: int, reverse_rounds: int, threads: int) -> Found:
    """All sides at the size that `settings` make of the published run; all in turn."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    steps = _steps(settings)
    return Found(
        tokens=steps[PLAIN].model.flow.side ** 2,
        step=_in_turn({name: step.seconds for name, step in steps.items()}, rounds),
        peak={name: step.peak() for name, step in steps.items()},
        off=_differences(steps),
        reverse=_in_turn(_reverse_passes(steps["straight_through, shared"]), reverse_rounds),
    )


class _Step:
    """Forward and backward of one side on a batch that lies there."""

    def __init__(self, recipe: Recipe, batch: "_Batch", flow: Flow | None) -> None:
        self.model = JointModel(recipe)
        if flow is not None:
            self.model.flow = flow
        self.batch = batch

    def __call__(self) -> None:
        given = self.batch
        output = self.model(given.image, given.label, given.noise, given.drop)
        terms = output.terms
        if output.projected:
            terms = replace(terms, alignment=alignment_loss(output.projected, given.tokens))
        terms.total(self.model.objective).backward()

    def seconds(self) -> Spent:
        """Of one step; gradients are made anew in it."""
        self.model.zero_grad(set_to_none=True)
        gc.collect()
        return _timed(self)

    def peak(self) -> int:
        """Bytes alive at most in a step, weights and gradients among them."""
        self.model.zero_grad(set_to_none=True)
        with LiveBytes("cpu") as live:
            live.watch([*self.model.parameters(), *self.model.buffers()])
            self()
        return live.peak

    def gradients(self) -> list[Tensor]:
        """Those that a step leaves in the flow."""
        self.model.zero_grad(set_to_none=True)
        self()
        return [w.grad.clone() for w in self.model.flow.parameters() if w.grad is not None]


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    image: Tensor
    label: Tensor
    noise: Tensor
    drop: Tensor
    tokens: Tensor  # of the teacher


def _steps(settings: Sequence[str]) -> dict[str, _Step]:
    """A step of each side; what was given to the first is given to all."""
    recipe = recipe_of("paper, shared", settings)
    alignment, images = recipe.objective.alignment, recipe.run.global_batch
    assert isinstance(alignment, FeatureAlignment)
    side = recipe.data.image_size
    image = 2 * torch.rand(images, recipe.data.image_channels, side, side) - 1
    batch = _Batch(
        image,
        torch.randint(recipe.data.classes, (images,)),
        torch.randn(images, recipe.latent_channels, recipe.latent_size, recipe.latent_size),
        torch.rand(images) < recipe.flow.label_drop,
        torch.randn(images, recipe.tokens, alignment.teacher.width),
    )
    first = _Step(recipe_of(PLAIN, settings), batch, None)
    with torch.no_grad():  # a fresh flow changes nothing, and sends little back
        for block in first.model.flow.blocks:
            block.affine_out.weight.normal_(std=0.01)
    others = {
        name: _Step(recipe_of(name, settings), batch, first.model.flow)
        for name in SIDES
        if name != PLAIN
    }
    heads = [step.model.heads for step in others.values() if step.model.heads is not None]
    for head in heads:
        head.load_state_dict(heads[0].state_dict())
    return {PLAIN: first} | others


def _in_turn(sides: dict[str, Callable[[], Spent]], rounds: int) -> dict[str, list[Spent]]:
    """What each side returns in every round but the first; the order turns about."""
    found: dict[str, list[Spent]] = {name: [] for name in sides}
    for number in range(-1, rounds):
        for name in list(sides) if number % 2 == 0 else list(reversed(sides)):
            value = sides[name]()
            if number >= 0:
                found[name].append(value)
    return found


def _differences(steps: dict[str, _Step]) -> dict[str, float]:
    found = {}
    for reverse in ("paper", "straight_through"):
        separate = steps[f"{reverse}, separate"].gradients()
        shared = steps[f"{reverse}, shared"].gradients()
        largest = max(gradient.abs().max().item() for gradient in separate)
        off = max((a - b).abs().max().item() for a, b in zip(separate, shared, strict=True))
        found[reverse] = off / largest
    return found


def _reverse_passes(step: _Step) -> dict[str, Callable[[], Spent]]:
    """From the noise down to the lowest aligned block, without gradients: token by token with
    cached keys and values as images are drawn, in passes of their own, and out of the normal one.
    """
    flow, given = step.model.flow, step.batch
    alignment, blocks = step.model.objective.alignment, len(flow.blocks)
    assert isinstance(alignment, FeatureAlignment)
    lowest = min(block % blocks for block, _ in alignment.places)
    with torch.no_grad():
        condition = flow.condition(given.label)
        tokens = torch.randn(len(given.image), flow.side**2, flow.token_width)
        passes = shared_passes(alignment, blocks)
        trace = flow.trace(tokens, condition, passes=passes)
        steerings = flow.steer(condition)
    rotary = flow.rotary(trace.noise)

    def drawn() -> None:
        data = trace.noise
        for index in reversed(range(lowest, blocks)):
            data = flow.blocks[index].inverse(data, steerings[index], rotary)

    def separate() -> None:
        for _ in pseudo_reverse(flow, trace, steerings, lowest):
            pass

    def shared() -> None:
        shared_features(alignment, passes, blocks, trace.noise)

    sides = {"drawn": drawn, "separate": separate, "shared": shared}
    return {name: partial(_timed, torch.no_grad()(work)) for name, work in sides.items()}


def _timed(work: Callable[[], None]) -> Spent:
    start, before = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - start, time.process_time() - before)
