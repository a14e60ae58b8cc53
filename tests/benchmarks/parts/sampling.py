"""Drawing from one flow: ours, and a peer's sampler with the same weights from the same noise.

The peers' samplers are asked as their `sample.py` asks them, without gradients, in float32. Their
caches are theirs: ml-tarflow joins a list of keys at every token, ml-starflow turns all of them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor

from system.evaluation.arithmetic import exact_arithmetic
from system.flow.flow import Flow
from system.flow.flow import to_latent
from system.flow.flow import to_tokens
from system.flow.sampler import Drawn
from system.flow.sampler import draw
from system.flow.streaming import Batch
from system.flow.streaming import streamed
from system.foundation.settings import flow as settings
from system.foundation.settings.evaluation import Sampler
from tests.benchmarks.parts.peers import Peer
from tests.benchmarks.parts.peers import drawn_flow
from tests.benchmarks.parts.peers import weights_of

PLAIN = Sampler(guidance=0.0)


@dataclass(frozen=True)
class Task:
    """Images to draw from a flow with random weights."""

    shape: settings.Flow
    side: int
    channels: int
    classes: int
    batch: int
    guided: Sampler

    def flow(self, device: torch.device) -> Flow:
        """The flow, whose weights all do something."""
        sizes = {"side": self.side, "channels": self.channels, "classes": self.classes}
        return drawn_flow(self.shape, **sizes).to(device).eval()

    def noise(self, device: torch.device) -> Float[Tensor, "B C H W"]:
        """The noise of the batch, laid out as its images."""
        size = self.side * self.shape.patch
        shape = (self.batch, self.channels, size, size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device)

    def label(self, device: torch.device) -> Int[Tensor, "B"]:
        """A class for each image."""
        return torch.arange(self.batch, device=device) % self.classes


@dataclass(frozen=True)
class Ours:
    """Our sampler over a task."""

    task: Task
    flow: Flow
    noise: Float[Tensor, "B C H W"]

    @classmethod
    def of(cls, task: Task, device: torch.device) -> "Ours":
        """Over the task's own noise."""
        return cls(task, task.flow(device), task.noise(device))

    def drawn(self, sampler: Sampler) -> Drawn:
        """The tokens, with the passes that they took."""
        tokens = to_tokens(self.noise, self.task.shape.patch)
        return draw(self.flow, tokens, self.task.label(self.noise.device), sampler)

    def images(self, sampler: Sampler) -> Float[Tensor, "B C H W"]:
        """The images."""
        patch = self.task.shape.patch
        return to_latent(self.drawn(sampler).tokens, patch, self.task.side * patch)

    def stream(self, count: int, in_flight: int) -> list[Tensor]:
        """The tokens of so many batches, each with noise of its own, without guidance; one thread
        computes for each that is under way, as evaluation's workers draw."""
        tokens = to_tokens(self.noise, self.task.shape.patch)
        label = self.task.label(self.noise.device)
        batches = (Batch(tokens.roll(place, dims=1), label) for place in range(count))
        with exact_arithmetic(threads=1):
            stream = streamed(self.flow, batches, PLAIN, in_flight=in_flight)
            return [drawn.tokens for drawn in stream]


class Theirs:
    """A peer's sampler over a task, with the weights of our flow."""

    def __init__(self, peer: Peer, ours: Ours) -> None:
        task, self._noise = ours.task, ours.noise
        self._kind = peer.kind
        whole = weights_of(ours.flow, task.channels)
        device = ours.noise.device
        self._model: Any = peer.model(whole).to(device).eval()
        self._wanted = peer.condition(whole, task.label(device))
        null = torch.full((task.batch,), task.classes, device=device)
        self._both = None
        if peer.kind == "ml_starflow" and self._wanted is not None:
            self._both = torch.cat([self._wanted, peer.condition(whole, null)])

    @torch.no_grad()
    def images(self, guidance: float) -> Float[Tensor, "B C H W"]:
        """The images; without guidance at 0."""
        if self._kind == "ml_tarflow":
            noise = self._model.patchify(self._noise)
            images: Tensor = self._model.reverse(noise, self._wanted, guidance=guidance)
            return images
        condition = self._both if guidance else self._wanted
        drawn: Tensor = self._model(self._noise, condition, reverse=True, guidance=guidance)
        return drawn


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference."""
    return float((one - other).abs().max())


@dataclass(frozen=True, slots=True)
class Work:
    """What a batch takes at least: arithmetic, two for a multiply-add, and what has to be read."""

    operations: int
    bytes: int
    passes: int


def work_of(ours: Ours, sampler: Sampler) -> Work:
    """Counted by passes: each reads the weights of its block once, and the keys and values of the
    tokens so far, half of all on average. Activations and norms are left out.
    """
    shape, tokens = ours.task.shape, ours.task.side**2
    passes = ours.drawn(sampler).passes
    operations = read = 0
    for index, (block, depth) in enumerate(zip(ours.flow.blocks, shape.depths, strict=True)):
        is_deep = index == len(passes) - 1
        guided = sampler.guidance > 0 and (sampler.guidance_blocks == "all" or is_deep)
        iterated = sampler.decoding == "jacobi" and (sampler.jacobi_blocks == "all" or not is_deep)
        rows = ours.task.batch * (2 if guided else 1)
        asked = rows * (min(sampler.jacobi_chunk, tokens) if iterated else 1)
        matrices = [weight for weight in block.parameters() if weight.ndim == 2]
        size = matrices[0].element_size()
        weights = sum(weight.numel() for weight in matrices)
        seen = 2 * depth * shape.width * tokens // 2  # keys and values of one row
        operations += passes[index] * asked * 2 * (weights + seen)
        read += passes[index] * (weights + rows * seen) * size
    return Work(operations, read, sum(passes))
