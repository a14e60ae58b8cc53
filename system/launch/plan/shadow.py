"""One pass of a recipe without numbers: its real code on `meta`, counted.

The models are built as training builds them and go through `train.update.micro_step`, so that what
is counted is what would be computed; only there is no memory to it and no time. Of a network whose
weights are not at hand the shape is known all the same.
"""

import gc
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch import nn

from system.alignment.teacher import Teacher
from system.alignment.weights import WeightsFile
from system.alignment.weights import blank
from system.alignment.weights import read_weights
from system.foundation.errors import TrainingSystemError
from system.foundation.nouns import Batch
from system.foundation.recipe import Recipe
from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import Lpips
from system.foundation.settings.objective import PatchGan
from system.launch.plan.live_bytes import LiveBytes
from system.launch.plan.operations import Kind
from system.launch.plan.operations import counter
from system.launch.plan.operations import fused_attention
from system.objectives.adversarial import PatchDiscriminator
from system.objectives.joint import JointModel
from system.objectives.perceptual import PerceptualLoss
from system.train.frozen import shape_of
from system.train.guards.stragglers import Stopwatch
from system.train.update import micro_step

META = torch.device("meta")


@dataclass(frozen=True, slots=True)
class Counted:
    """What one pass of so many images comes to."""

    images: int
    forward_flops: dict[str, int]  # by network
    backward_flops: int  # of all that learns, through what judges it; recomputed layers included
    # Bytes that are alive at most until the next gradient of a weight is there, which is taken away
    # at once, and the numbers of all gradients before.
    course: tuple[tuple[int, int], ...]
    kept_bytes: int  # what is alive once the joint model has gone forward

    @property
    def live_bytes(self) -> int:
        """The most that is ever alive, gradients of weights left out."""
        return max(live for live, _ in self.course)

    @property
    def flops(self) -> int:
        """Of the whole pass."""
        return sum(self.forward_flops.values()) + self.backward_flops


@dataclass(slots=True)
class ShadowEngine:
    """What a pass asks of an engine, with nothing but the module behind it."""

    module: nn.Module

    def forward(self, *inputs: Any) -> Any:
        """The module's output."""
        return self.module(*inputs)

    def backward(self, loss: Tensor) -> None:
        """Through the graph."""
        torch.autograd.backward(loss)


@dataclass(frozen=True, slots=True, eq=False)
class Shadow:
    """The networks of a recipe on `meta`."""

    recipe: Recipe
    kind: Kind
    engine: ShadowEngine
    critic: ShadowEngine | None
    perceptual: PerceptualLoss | None
    teacher: Teacher | None

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Every network by its name, those that learn first."""
        found = {
            "model": self.engine.module,
            "critic": None if self.critic is None else self.critic.module,
            "perceptual trunk": self.perceptual,
            "teacher": self.teacher,
        }
        return {name: network for name, network in found.items() if network is not None}


def shadow(recipe: Recipe, kind: Kind) -> Shadow:
    """The networks of a recipe as they would be on a kind of device."""
    objective, dtype = recipe.objective, compute_type(recipe)
    critic = perceptual = None
    # Weights that are read go nowhere, as torch warns; and LPIPS asks torchvision in an old way.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if isinstance(objective.perceptual, Lpips):
            perceptual = PerceptualLoss(None).to(META)  # its heads come from a file, so not on META
        with META:
            model = JointModel(recipe).to(dtype)
            if isinstance(objective.adversarial, PatchGan):
                made = PatchDiscriminator(objective.adversarial, recipe.data.image_channels)
                critic = ShadowEngine(made.to(dtype))
            teacher = _teacher(recipe, dtype if kind == "cuda" else torch.float32)
    return Shadow(recipe, kind, ShadowEngine(model), critic, perceptual, teacher)


def compute_type(recipe: Recipe) -> torch.dtype:
    """What an engine casts its module to."""
    return torch.bfloat16 if recipe.engine.precision == "bf16" else torch.float32


def count(made: Shadow, images: int) -> Counted:
    """One pass of so many images, every network taking part."""
    batch = _batch(made.recipe, images)
    forward: Counter[str] = Counter()
    kept: list[int] = []
    flops = counter()
    live = LiveBytes("meta")
    for network in made.networks.values():
        live.leave_out([*network.parameters(), *network.buffers()])
    live.leave_out([batch.image, batch.label, *batch.features.values()])
    with (
        _counted_forward(made, flops, forward),
        _kept(made, live, kept),
        _taken_gradients(made, live) as course,
        fused_attention(made.kind),
        _uncollected(),
        flops,
        live,
    ):
        micro_step(made, made.critic, batch, Stopwatch(META))
    total = int(flops.get_total_flops())
    course.append((live.peak, 0))
    return Counted(images, dict(forward), total - sum(forward.values()), _summed(course), kept[0])


def _batch(recipe: Recipe, images: int) -> Batch:
    data = recipe.data
    features: dict[str, Tensor] = {}
    if data.features is not None:
        features = {
            name: torch.empty(images, *shape_of(recipe, name), device=META)
            for name in recipe.frozen_features
        }
    return Batch(
        image=torch.empty(
            images, data.image_channels, data.image_size, data.image_size, device=META
        ),
        label=torch.zeros(images, dtype=torch.int64, device=META),
        position=torch.arange(images),
        key=("",) * images,
        features=features,
    )


def _teacher(recipe: Recipe, dtype: torch.dtype) -> Teacher | None:
    """As `train.frozen` builds it. Where its file is not at hand, timm knows its shape."""
    alignment = recipe.objective.alignment
    if not isinstance(alignment, FeatureAlignment) or recipe.data.features is not None:
        return None
    teacher = alignment.teacher
    file: WeightsFile | None = None
    if teacher.weights is not None:
        with suppress(TrainingSystemError):
            file = read_weights(teacher, teacher.weights)
    return Teacher(
        teacher,
        side=recipe.latent_size // recipe.flow.patch,
        image_channels=recipe.data.image_channels,
        dtype=dtype,
        file=file or blank(teacher),
    )


@contextmanager
def _taken_gradients(made: Shadow, live: LiveBytes) -> Iterator[list[tuple[int, int]]]:
    """Take every gradient away as soon as it is there: what was alive until then, its numbers."""
    course: list[tuple[int, int]] = []

    def take(weight: Tensor) -> None:
        course.append((live.peak, weight.numel()))
        weight.grad = None
        live.start_over()

    engines = [each for each in (made.engine, made.critic) if each is not None]
    weights = [each for engine in engines for each in engine.module.parameters()]
    hooks = [
        each.register_post_accumulate_grad_hook(take) for each in weights if each.requires_grad
    ]
    try:
        yield course
    finally:
        for hook in hooks:
            hook.remove()


def _summed(course: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """With the numbers of all gradients before each, instead of its own."""
    before = [0, *accumulate(numbers for _, numbers in course)]
    return tuple((live, past) for (live, _), past in zip(course, before, strict=False))


@contextmanager
def _counted_forward(made: Shadow, flops: Any, found: Counter[str]) -> Iterator[None]:
    """Count every network's own forward passes; what is left is the backward pass."""
    began: list[int] = []

    def start(*_: Any) -> None:
        began.append(flops.get_total_flops())

    def end(name: str) -> Any:
        def note(*_: Any) -> None:
            found[name] += flops.get_total_flops() - began.pop()

        return note

    hooks = []
    for name, network in made.networks.items():
        hooks += [network.register_forward_pre_hook(start)]
        hooks += [network.register_forward_hook(end(name))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _uncollected() -> Iterator[None]:
    """What a cycle of references holds stays: recomputed layers leave some, and when Python would
    find them depends on all that the process did before."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _kept(made: Shadow, live: LiveBytes, found: list[int]) -> Iterator[None]:
    """What is alive when the joint model has said what it says."""
    hook = made.engine.module.register_forward_hook(lambda *_: found.append(live.now))
    try:
        yield
    finally:
        hook.remove()
