"""One pass of a joint recipe at its published size, forward and backward, looked at by its parts.

Models are built without the cost of drawing weights: matrices repeat one block of random numbers.
There is no optimiser: on a CPU its float32 state would not fit beside a flow of 1.4 billion, and
gradients are let go as soon as they are there.
"""

import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import nn
from torch.profiler import ProfilerActivity
from torch.profiler import profile

from system.foundation.nouns import Batch
from system.foundation.recipe import Recipe
from system.foundation.settings.objective import Lpips
from system.foundation.settings.objective import PatchGan
from system.launch.plan.operations import counter
from system.launch.plan.shadow import Shadow
from system.launch.plan.shadow import ShadowEngine
from system.layers.transformer import Layer
from system.objectives.adversarial import PatchDiscriminator
from system.objectives.joint import JointModel
from system.objectives.perceptual import PerceptualLoss
from system.train.guards.stragglers import Stopwatch
from system.train.update import micro_step

CPU = torch.device("cpu")
SPREAD, BLOCK = 0.02, 2**20


@dataclass(frozen=True, slots=True)
class Profile:
    """What a pass came to."""

    parameters: int  # of all that learns
    loss: float
    seconds: float
    worked: float  # of these, on its cores
    parts: dict[str, float]  # seconds on its cores, forward and backward, by network
    flops: int
    operators: dict[str, float]  # seconds of the clock, the longest first


def profiled(recipe: Recipe, images: int) -> Profile:
    """A pass of so many images through every network that the recipe has, on the CPU, in bf16."""
    made, batch = networks(recipe), batch_of(recipe, images)
    parts: Counter[str] = Counter()
    learnt = [made.engine.module] + [each.module for each in [made.critic] if each is not None]
    with (
        _clocked(made, parts),
        _without_gradients([weight for module in learnt for weight in module.parameters()]),
        counter() as flops,
        profile(activities=[ProfilerActivity.CPU]) as seen,
    ):
        began, worked = time.perf_counter(), time.process_time()
        values = micro_step(made, made.critic, batch, Stopwatch(CPU))
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
    events = sorted(seen.key_averages(), key=lambda each: -each.self_cpu_time_total)
    return Profile(
        parameters=sum(w.numel() for module in learnt for w in module.parameters()),
        loss=float(values["loss/total"].detach()),
        seconds=seconds,
        worked=worked,
        parts=dict(parts),
        flops=int(flops.get_total_flops()),
        operators={each.key: each.self_cpu_time_total / 1e6 for each in events[:12]},
    )


def networks(recipe: Recipe) -> Shadow:
    """The networks of a recipe as `system.launch.plan.shadow` holds them, but with numbers."""
    objective = recipe.objective
    with torch.device("meta"):
        model, critic = JointModel(recipe), None
        if isinstance(objective.adversarial, PatchGan):
            critic = PatchDiscriminator(objective.adversarial, recipe.data.image_channels)
    is_judged = isinstance(objective.perceptual, Lpips)
    perceptual = PerceptualLoss(None) if is_judged else None
    judge = None if critic is None else ShadowEngine(_filled(critic))
    return Shadow(recipe, "cpu", ShadowEngine(_filled(model)), judge, perceptual, None)


def batch_of(recipe: Recipe, images: int) -> Batch:
    """Smooth images."""
    data, draws = recipe.data, torch.Generator().manual_seed(0)
    coarse = torch.randn(images, data.image_channels, 8, 8, generator=draws)
    image = nn.functional.interpolate(coarse, (data.image_size,) * 2, mode="bicubic").tanh()
    label = torch.randint(data.classes, (images,), generator=draws)
    return Batch(image, label, torch.arange(images), ("",) * images)


@torch.no_grad()
def _filled(module: nn.Module) -> nn.Module:
    module = module.to(torch.bfloat16).to_empty(device=CPU)
    block = SPREAD * torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).bfloat16()
    for name, weight in [*module.named_parameters(), *module.named_buffers()]:
        flat = weight.view(-1)
        if weight.ndim < 2:
            flat.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
            continue
        for part in flat.split(BLOCK):
            part.copy_(block[: len(part)])
    return module


@contextmanager
def _without_gradients(weights: list[nn.Parameter]) -> Iterator[None]:
    """Every gradient is computed and taken away."""

    def take(weight: Tensor) -> None:
        weight.grad = None

    hooks = [
        weight.register_post_accumulate_grad_hook(take)
        for weight in weights
        if weight.requires_grad
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _clocked(made: Shadow, spent: Counter[str]) -> Iterator[None]:
    """Seconds on the cores of every network's modules, on their way forward and back."""
    model: Any = made.engine.module
    watched: dict[str, list[nn.Module]] = {
        "flow": [each for each in model.flow.modules() if isinstance(each, Layer)],
        "encoder": [model.autoencoder.encoder],
        "decoder": [model.autoencoder.decoder],
        "discriminator": [] if made.critic is None else [made.critic.module],
        "perceptual trunk": [] if made.perceptual is None else [made.perceptual],
    }
    hooks = []
    for name, modules in watched.items():
        for module in modules:
            hooks += _clock(module, name, spent)
    try:
        with warnings.catch_warnings():
            # Of modules whose inputs have no gradient: see `_clock`.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _clock(module: nn.Module, name: str, spent: Counter[str]) -> list[Any]:
    began: list[float] = []

    def start(*_: Any) -> None:
        began.append(time.process_time())

    def go_on(*_: Any) -> None:
        if began:
            now = time.process_time()
            spent[name] += now - began.pop()
            began.append(now)

    def end(*_: Any) -> None:
        go_on()
        began[:] = began[:-1]

    ways = [
        module.register_forward_pre_hook(start),
        module.register_forward_hook(end),
        module.register_full_backward_pre_hook(start),
    ]
    if name != "encoder":
        return [*ways, module.register_full_backward_hook(end)]
    # An image has no gradient to wait for: torch calls the end of the way back where it begins.
    return ways + [w.register_post_accumulate_grad_hook(go_on) for w in module.parameters()]
