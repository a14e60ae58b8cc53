"""Training steps of one TARFlow: ours through the real engine, a peer's as its `train.py` takes it.

Both begin with the same weights and are given the same images. Ours does what a worker does beside
the loss: the draws that belong to the positions, the norm of the gradient, the check that it is
finite, float32 masters under bf16, and the averaged weights, all of which the peer does without.

Source of the peer's step: apple/ml-tarflow, train.py (autocast to bf16, AdamW over all weights).
"""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import nn

from system.alignment.teacher import Teacher
from system.engine.deepspeed_engine import Engine
from system.engine.schedules import averaging_decays
from system.flow.flow import Flow
from system.foundation.config import resolve
from system.foundation.nouns import Batch
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.launch.plan.live_bytes import LiveBytes
from system.launch.plan.operations import counter
from system.objectives.joint import JointModel
from system.objectives.perceptual import PerceptualLoss
from system.train.compilation import compile_parts
from system.train.guards.stragglers import Stopwatch
from system.train.update import micro_step
from tests.benchmarks.parts.peers import Peer
from tests.benchmarks.parts.peers import drawn_flow
from tests.benchmarks.parts.peers import weights_of

CONFIG = Path(__file__).parents[3] / "configs" / "tarflow_64.yaml"
# What the peer's released commands train this family with.
PEERS_ADAMW: dict[str, Any] = {"betas": (0.9, 0.95), "weight_decay": 1e-4}


def recipe_of(settings: tuple[str, ...], device: torch.device) -> Recipe:
    """The published recipe for 64x64 with these settings, all images of a batch in one pass."""
    given = ["cluster.workers=1", "cluster.micro_batch=null", f"cluster.device={device.type}"]
    return resolve(CONFIG, [*given, *settings]).recipe


def batch_of(recipe: Recipe, number: int, device: torch.device) -> Batch:
    """The images of an update, the same for the same number: smooth ones, with every label."""
    count, data = recipe.run.global_batch, recipe.data
    draws = torch.Generator().manual_seed(number)
    coarse = torch.randn(count, data.image_channels, 8, 8, generator=draws)
    image = nn.functional.interpolate(coarse, (data.image_size,) * 2, mode="bicubic").tanh()
    label = torch.randint(data.classes, (count,), generator=draws)
    position = torch.arange(count) + number * count
    return Batch(image.to(device), label.to(device), position, ("",) * count)


def flow_of(recipe: Recipe) -> Flow:
    """A flow of the recipe's images that moves them."""
    data, patch = recipe.data, recipe.flow.patch
    return drawn_flow(
        recipe.flow,
        side=data.image_size // patch,
        channels=data.image_channels,
        classes=data.classes,
    )


@dataclass(slots=True, eq=False)
class Ours:
    """What takes our step: the parts of `system.train.state.TrainState` that it reads."""

    recipe: Recipe
    engine: Engine
    perceptual: PerceptualLoss | None = None
    teacher: Teacher | None = None
    updates: int = 0
    watch: Stopwatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Stopwatch(self.engine.world.device)

    def step(self, batch: Batch) -> Tensor:
        """Forward, loss, backward, AdamW and the averages; the loss, on the device."""
        values = micro_step(self, None, batch, self.watch)
        settings = self.recipe.engine
        rate = settings.optimiser.learning_rate
        self.engine.step(rate, averaging_decays(settings, self.updates))
        self.updates += 1
        return values["loss/total"].detach()


@contextmanager
def ours(recipe: Recipe, flow: Flow, device: torch.device) -> Iterator[Ours]:
    """Our side, with the weights of a flow."""
    model = JointModel(recipe)
    model.flow.load_state_dict(flow.state_dict())
    if recipe.engine.compile:
        compile_parts(model)
    engine = Engine(
        model,
        recipe.engine,
        world=World(device_name=str(device)),
        micro_batch=recipe.run.global_batch,
        accumulation=1,
    )
    try:
        yield Ours(recipe, engine)
    finally:
        engine.close()


class Theirs:
    """What takes ml-tarflow's step, as its train.py does."""

    def __init__(
        self, peer: Peer, recipe: Recipe, flow: Flow, device: torch.device, *, mode: str = "eager"
    ) -> None:
        """`mode` is eager, or compiled: its own loss function under plain `torch.compile`."""
        self.model = peer.model(weights_of(flow, recipe.data.image_channels)).to(device)
        self._optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.engine.optimiser.learning_rate, **PEERS_ADAMW
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self._device = device
        self._drop = recipe.flow.label_drop
        self._noise = recipe.autoencoder.noise_spread or 0.0
        self._loss: Callable[..., Tensor] = self._plain_loss
        if mode == "compiled":
            self._loss = torch.compile(self._plain_loss)

    def step(self, batch: Batch) -> Tensor:
        """Noise, dropped labels, forward, loss, backward, AdamW; the loss, on the device."""
        image = batch.image + self._noise * torch.randn_like(batch.image)
        dropped = (torch.rand(len(image), device=self._device) < self._drop).int()
        label = (1 - dropped) * batch.label - dropped
        self._optimiser.zero_grad()
        loss = self._loss(image, label)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return loss.detach()

    def _plain_loss(self, image: Tensor, label: Tensor) -> Tensor:
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            noise, _, log_det = self.model(image, label)
            return self.model.get_loss(noise, log_det)


def counted(work: Callable[[], object]) -> int:
    """Floating-point operations of work, two for a multiply-add."""
    with counter() as flops:
        work()
    return int(flops.get_total_flops())


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """What work has alive at most beside what there was: on the CPU by following every tensor."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with LiveBytes(device.type) as live:
        work()
    return live.peak
