"""What alignment adds to a step at the published size, counted on shapes."""

from dataclasses import dataclass

from system.foundation.batch_cut import cut_batch
from system.launch.plan.compute import computed
from system.launch.plan.compute import on_gpu
from system.launch.plan.shadow import shadow
from tests.benchmarks.parts.aligning import recipe_of


@dataclass(frozen=True, slots=True)
class Counted:
    """Of one image: operations of a step without the teacher, and of the teacher; and the bytes
    that a GPU holds at most in the published run."""

    flops: float
    teacher: float
    held: float


def count_aligned(side: str) -> Counted:
    """A side of the published run at its own size, as jobs/plan.py counts it."""
    made = shadow(recipe_of(side), "cuda")
    recipe = made.recipe
    images, passes = cut_batch(
        recipe.run.global_batch, recipe.cluster.workers, recipe.cluster.micro_batch
    )
    compute = computed(made)
    teacher = compute.forward_flops.get("teacher", 0.0)
    held = on_gpu(made, compute, recipe.cluster.workers, images, passes)
    return Counted(compute.flops - teacher, teacher, held.total - held.frozen)
