"""What one GPU holds at most, by component, in any of ZeRO's stages: arithmetic on a count.

What DeepSpeed keeps follows from its code (0.19.8) and from ours; `jobs/plan.py --check` compares
it with the real engine. A pass is highest somewhere on its way back: gradients grow while
activations go, so the two are added moment by moment.
"""

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields

from torch import Tensor
from torch import nn

from system.engine.deepspeed_config import BUCKET_ELEMENTS
from system.engine.deepspeed_config import overlaps
from system.foundation.recipe import Recipe
from system.launch.plan.shadow import Counted
from system.launch.plan.shadow import Shadow

WIDE = 4  # bytes of a number in float32
# DeepSpeed's stage3_max_live_parameters: so many numbers of gathered weights may lie around.
MAX_GATHERED = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of an engine's module."""

    trained: int
    untrained: int
    buffer_bytes: int

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.trained + self.untrained


@dataclass(frozen=True, slots=True)
class Course:
    """What a pass makes on its way: a line in the number of images for each moment, and how many
    numbers of gradients there are by then."""

    moments: tuple[tuple[float, float, int], ...]  # bytes of no image, of one more, gradients

    def highest(self, images: int, gradient_bytes: float = 0.0) -> tuple[float, float]:
        """Bytes of activations and of gradients where their sum is largest, given the bytes that
        each number of a gradient takes."""
        return max(
            (
                (fixed + images * each, gradient_bytes * numbers)
                for fixed, each, numbers in self.moments
            ),
            key=sum,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes on one GPU at the highest point of an update."""

    weights: float  # of the passes; in stage 3 the GPU's share, and those that are gathered
    masters: float  # in float32, which the optimiser moves
    moments: float
    averages: float
    gradients: float
    buckets: float  # that gradients are summed over the workers in
    frozen: float  # perceptual trunk and teacher
    activations: float  # all that a pass makes

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


def sizes(module: nn.Module) -> Sizes:
    """Count a module."""
    weights = list(module.parameters())
    return Sizes(
        trained=sum(each.numel() for each in weights if each.requires_grad),
        untrained=sum(each.numel() for each in weights if not each.requires_grad),
        buffer_bytes=bytes_of(module.buffers()),
    )


def course(one: Counted, two: Counted) -> Course:
    """The line through passes of one image and of two."""
    return Course(
        tuple(
            (float(2 * first - second), float(second - first), numbers)
            for (first, numbers), (second, _) in zip(one.course, two.course, strict=True)
        )
    )


def held(made: Shadow, stage: int, workers: int, passes: int, highest: tuple[Course, int]) -> Held:
    """One GPU of so many, with so many passes in an update, each of which has a course and a number
    of images."""
    recipe, (taken, images) = made.recipe, highest
    engines = [(sizes(made.engine.module), len(recipe.engine.decays))]
    if made.critic is not None:
        engines.append((sizes(made.critic.module), 1))
    parts = [_engine(recipe, each, stage, workers, averages) for each, averages in engines]
    trained = sum(each.trained for each, _ in engines)
    # In float32, in stages 1 (of bf16) and 3, and in a further pass, they are there from the start;
    # else they come one by one. In stage 1 those of the pass itself come beside them.
    whole = WIDE * trained / (workers if stage >= 2 else 1)
    if sums_apart(recipe, stage):
        there, growth = whole, float(narrow(recipe))
    elif stage == 3 or passes > 1:
        there, growth = whole, 0.0
    else:
        there, growth = 0.0, whole / max(1, trained)
    activations, growing = taken.highest(images, growth)
    gradients = there + growing
    buckets = _buckets(recipe, len(engines), stage)
    buckets *= 1 + overlaps(stage, workers, made.kind)  # one is filled while the other is summed
    step = _step(whole, stage)
    if step + buckets * (stage == 3) > gradients + buckets + activations:
        activations, gradients, buckets = 0.0, step, buckets * (stage == 3)
    weights, masters, moments, averages = (sum(column) for column in zip(*parts, strict=True))
    frozen = [each for each in (made.perceptual, made.teacher) if each is not None]
    return Held(
        weights, masters, moments, averages, gradients, buckets,
        float(sum(bytes_of([*each.parameters(), *each.buffers()]) for each in frozen)),
        activations,
    )  # fmt: skip


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors that share nothing."""
    return sum(each.numel() * each.element_size() for each in tensors)


def narrow(recipe: Recipe) -> int:
    """Bytes of a number in a pass."""
    return 2 if recipe.engine.precision == "bf16" else WIDE


def sums_apart(recipe: Recipe, stage: int) -> bool:
    """Whether gradients of passes are summed into tensors of float32 that are always there: so does
    DeepSpeed's BF16_Optimizer."""
    return stage == 1 and recipe.engine.precision == "bf16"


def has_masters(recipe: Recipe, stage: int) -> bool:
    """Whether the optimiser moves other tensors than the passes read."""
    return recipe.engine.precision == "bf16" or stage > 0


def _engine(
    recipe: Recipe, counted: Sizes, stage: int, workers: int, averages: int
) -> Sequence[float]:
    """What an engine keeps from update to update: weights, masters, moments, averages."""
    share = counted.trained / workers if stage else float(counted.trained)
    weights = float(narrow(recipe) * counted.parameters)
    if stage == 3 and workers > 1:
        weights = weights / workers + min(weights, narrow(recipe) * MAX_GATHERED)
    masters = WIDE * share * has_masters(recipe, stage)
    return (weights + counted.buffer_bytes, masters, 2 * WIDE * share, averages * WIDE * share)


def _buckets(recipe: Recipe, engines: int, stage: int) -> float:
    """Of its full length, however small the engine is. In stage 3 every engine keeps one; in stage
    2 it is let go after the engine's step, before the next engine has its own."""
    at_once = {2: 1, 3: engines}.get(stage, 0)
    return float(narrow(recipe) * BUCKET_ELEMENTS * at_once)


def _step(whole: float, stage: int) -> float:
    """Gradients in the optimiser's step."""
    return 2 * whole if stage == 3 else whole
