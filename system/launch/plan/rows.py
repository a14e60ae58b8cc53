"""A recipe on so many GPUs of a kind: what fits, how fast it goes with the network, what it costs.

The compute of an image is taken for the same on any number of GPUs; what the network adds is
predicted for every stage of ZeRO, each with the largest pass that it has room for.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from system.engine.deepspeed_config import deepspeed_config
from system.foundation.batch_cut import cut_batch
from system.foundation.batch_cut import world_sizes
from system.launch.plan.compute import Compute
from system.launch.plan.compute import largest_pass
from system.launch.plan.compute import on_gpu
from system.launch.plan.hardware import Gpu
from system.launch.plan.memory import narrow
from system.launch.plan.network.links import Links
from system.launch.plan.network.messages import Message
from system.launch.plan.network.messages import Weight
from system.launch.plan.network.messages import messages
from system.launch.plan.network.messages import weights_of
from system.launch.plan.network.steps import Step
from system.launch.plan.network.steps import Work
from system.launch.plan.network.steps import hiding
from system.launch.plan.network.steps import step
from system.launch.plan.published import published
from system.launch.plan.request import Planning
from system.launch.plan.shadow import Shadow

STAGES = (1, 2, 3)
HOUR_S = 3600.0
HALVINGS = 50  # of the interval in which a measured rate's own compute is looked for


@dataclass(frozen=True, slots=True)
class Staged:
    """A recipe on so many GPUs in one of ZeRO's stages."""

    stage: int
    micro_batch: int
    passes: int
    largest: int  # images of a pass that would fit; 0: none does
    memory_bytes: float
    images_per_s: float
    efficiency: float  # over as many GPUs without a network
    sent_bytes: float  # by each worker in an update
    binds: str  # what takes most of the rest


@dataclass(frozen=True, slots=True)
class Row:
    """A recipe on so many GPUs of a kind, in its own stage, and what other stages would make."""

    gpu: str
    count: int
    problem: str  # empty where it works
    micro_batch: int
    largest: int  # images of a pass that would fit
    memory_bytes: float
    own: Staged | None  # in the recipe's own stage; None where the batch does not divide
    images_per_s: float
    seconds: float
    gpu_hours: float
    cost: float | None
    read_bytes_per_s: float
    stages: tuple[Staged, ...]  # those that fit

    @property
    def efficiency(self) -> float:
        """Over as many GPUs without a network; 0 where it does not work."""
        return 0.0 if self.problem or self.own is None else self.own.efficiency

    @property
    def best(self) -> Staged | None:
        """The fastest stage that fits, the lowest of equals; None where none does."""
        return max(self.stages, key=lambda each: (each.images_per_s, -each.stage), default=None)


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes the rows of one recipe."""

    made: Shadow
    compute: Compute
    planning: Planning
    image_bytes: float
    engines: tuple[tuple[Weight, ...], ...]  # the weights of each

    @classmethod
    def of(cls, made: Shadow, compute: Compute, planning: Planning, image_bytes: float) -> "Rows":
        """For the networks of a recipe."""
        engines = [each for each in (made.engine, made.critic) if each is not None]
        weights = tuple(weights_of(each.module) for each in engines)
        return cls(made, compute, planning, image_bytes, weights)

    def row(self, gpu: Gpu, count: int) -> Row:
        """The recipe on so many GPUs of a kind."""
        own = self.made.recipe.engine.zero_stage
        batch = self.batch(count)
        if problem := _indivisible(batch, count):
            return self._told(gpu, count, problem, None, ())
        rate = self._rate(gpu)
        found = {stage: self._staged(gpu, count, stage, rate) for stage in sorted({own, *STAGES})}
        mine = found[own]
        if not mine.largest:
            needed = on_gpu(self.made, self.compute, count, 1).total
            problem = f"does not fit: a pass of one image needs {needed / 2**30:.1f} GiB"
        return self._told(gpu, count, problem, mine, tuple(s for s in found.values() if s.largest))

    def batch(self, count: int) -> int:
        """Images of an update on so many GPUs."""
        each = self.planning.images_per_gpu
        return each * count if each else self.made.recipe.run.global_batch

    def _told(
        self, gpu: Gpu, count: int, problem: str, own: Staged | None, stages: tuple[Staged, ...]
    ) -> Row:
        recipe = self.made.recipe
        images_per_s = 0.0 if problem or own is None else own.images_per_s
        seconds = recipe.run.total_images / images_per_s if images_per_s else math.inf
        hours = count * seconds / HOUR_S
        return Row(
            gpu=gpu.name,
            count=count,
            problem=problem,
            micro_batch=own.micro_batch if own and own.largest else 0,
            largest=own.largest if own else 0,
            memory_bytes=own.memory_bytes if own else 0.0,
            own=own,
            images_per_s=images_per_s,
            seconds=seconds,
            gpu_hours=hours,
            cost=None if gpu.price is None or problem else hours * gpu.price,
            read_bytes_per_s=images_per_s * self.image_bytes,
            stages=stages,
        )

    def _staged(self, gpu: Gpu, count: int, stage: int, rate: float) -> Staged:
        recipe, batch = self.made.recipe, self.batch(count)
        room = self.planning.usable_memory * gpu.memory_bytes
        largest = largest_pass(
            self.made, self.compute, count, room, max(1, batch // count), stage=stage
        )
        wanted = min(largest, recipe.cluster.micro_batch or largest)
        micro, passes = cut_batch(batch, count, wanted) if largest else (0, 1)
        taken = self._step(stage, count, (micro or 1, passes), rate, gpu.links)
        sent = sum(each.sent(count) for each in self._messages(stage, count, passes))
        held = on_gpu(self.made, self.compute, count, micro, passes, stage=stage)
        return Staged(
            stage=stage,
            micro_batch=micro,
            passes=passes,
            largest=largest,
            memory_bytes=held.total,
            images_per_s=batch / taken.seconds if largest else 0.0,
            efficiency=taken.efficiency,
            sent_bytes=sent,
            binds=taken.binds,
        )

    def _step(
        self, stage: int, count: int, cut: tuple[int, int], rate: float, links: Links
    ) -> Step:
        """An update in which a GPU alone would make so many images a second."""
        micro, passes = cut
        alone = micro * passes / rate
        share = self.compute.forward_share
        work = Work(share * alone, (1 - share) * alone)
        behind = hiding(stage, overlap=self._overlaps(stage))
        return step(self._messages(stage, count, passes), work, count, links, behind=behind)

    def _messages(self, stage: int, count: int, passes: int) -> list[Message]:
        size = narrow(self.made.recipe)
        engines = [messages(each, stage, size, count, passes) for each in self.engines]
        return [message for sent in engines for message in sent]

    def _overlaps(self, stage: int) -> bool:
        """Whether gradients are sent while others are computed."""
        if self.planning.overlap != "configured":
            return self.planning.overlap == "full"
        settings = self.made.recipe.engine.model_copy(update={"zero_stage": stage})
        config = deepspeed_config(settings, micro_batch=1, accumulation=1, world_size=1)
        return bool(config["zero_optimization"].get("overlap_comm", False))

    def _rate(self, gpu: Gpu) -> float:
        """Images a second of one GPU without a network."""
        recipe, measured = self.made.recipe, self.planning.images_per_gpu_s
        if measured is None:
            share = self.planning.mfu or published(recipe).mfu
            return share * gpu.peak(recipe) / self.compute.flops
        count = self.planning.measured_gpus
        if count == 1:
            return measured
        images, passes = cut_batch(self.batch(count), count, recipe.cluster.micro_batch)

        def reached(rate: float) -> float:
            taken = self._step(recipe.engine.zero_stage, count, (images, passes), rate, gpu.links)
            return images * passes / taken.seconds

        return _where(reached, measured)


def _where(rises: Callable[[float], float], value: float) -> float:
    """Where a rising function that stays below its argument has a value; at most 1000 times it."""
    low, high = value, 1000 * value
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < value else (low, middle)
    return low


def _indivisible(batch: int, count: int) -> str:
    if batch % count == 0:
        return ""
    near = sorted(world_sizes(batch, 1, batch), key=lambda size: (abs(size - count), size))[:3]
    return f"{batch} images do not divide; {', '.join(map(str, sorted(near)))} GPUs do"
