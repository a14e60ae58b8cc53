"""What a recipe's passes come to, and how many images of one fit."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from system.foundation.recipe import Recipe
from system.launch.plan.memory import Course
from system.launch.plan.memory import Held
from system.launch.plan.memory import course
from system.launch.plan.memory import held
from system.launch.plan.memory import sizes
from system.launch.plan.shadow import Shadow
from system.launch.plan.shadow import count
from system.launch.plan.shadow import shadow


@dataclass(frozen=True, slots=True)
class Compute:
    """A recipe's passes, counted for one image."""

    parameters: dict[str, int]
    forward_flops: dict[str, float]
    backward_flops: float
    kept: Course  # with flow.checkpoint_activations off
    checkpointed: Course  # and on, or in the blocks that the recipe names
    saved: Course  # of these, what is there when the joint model has gone forward

    @property
    def flops(self) -> float:
        """Of one image through everything, forward and backward."""
        return sum(self.forward_flops.values()) + self.backward_flops

    @property
    def forward_share(self) -> float:
        """Of the operations, those on the way forward."""
        return 1 - self.backward_flops / self.flops


def computed(made: Shadow) -> Compute:
    """Count passes of one and of two images, with activations kept and checkpointed."""
    other = shadow(_the_other_way(made.recipe), made.kind)
    one, counted = count(made, 1), count(made, 2)
    courses = [course(one, counted), course(count(other, 1), count(other, 2))]
    saved = (2 * one.kept_bytes - counted.kept_bytes, counted.kept_bytes - one.kept_bytes, 0)
    if made.recipe.flow.checkpoint_activations:
        courses.reverse()
    model: Any = made.engine.module
    parts = {
        "encoder": model.autoencoder.encoder,
        "decoder": model.autoencoder.decoder,
        "flow": model.flow,
        "heads": model.heads,
    }
    others = {name: network for name, network in made.networks.items() if name != "model"}
    return Compute(
        parameters={
            name: sizes(part).parameters
            for name, part in (parts | others).items()
            if part is not None
        },
        forward_flops={name: flops / 2 for name, flops in counted.forward_flops.items()},
        backward_flops=counted.backward_flops / 2,
        kept=courses[0],
        checkpointed=courses[1],
        saved=Course((saved,)),
    )


def on_gpu(
    made: Shadow,
    compute: Compute,
    gpus: int,
    images: int,
    passes: int = 2,
    *,
    stage: int | None = None,
) -> Held:
    """One of so many GPUs with the recipe's own checkpointing, in a stage or in its own."""
    recipe = made.recipe
    is_checkpointed = recipe.flow.checkpoint_activations
    taken = compute.checkpointed if is_checkpointed else compute.kept
    own = recipe.engine.zero_stage if stage is None else stage
    return held(made, own, gpus, passes, (taken, images))


def largest_pass(
    made: Shadow,
    compute: Compute,
    gpus: int,
    room: float,
    most: int | None = None,
    *,
    stage: int | None = None,
) -> int:
    """Images of the largest pass that fits into so many bytes, for any number of passes; 0: none
    does, and no more than `most` or a GPU's share of the recipe's batch."""
    most = most or max(1, made.recipe.run.global_batch // gpus)
    sized = range(1, most + 1)

    def needed(images: int) -> float:
        return on_gpu(made, compute, gpus, images, stage=stage).total

    return bisect_right(sized, room, key=needed)


def _the_other_way(recipe: Recipe) -> Recipe:
    """Activations kept where the recipe recomputes any, recomputed in every block where it keeps
    all: so that what is checkpointed is the recipe's own choice of blocks, if it has one."""
    turned = not recipe.flow.checkpoint_activations
    flow = recipe.flow.model_copy(update={"checkpoint_activations": turned})
    return recipe.model_copy(update={"flow": flow})
