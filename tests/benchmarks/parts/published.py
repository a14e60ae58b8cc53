"""The size of a published recipe, by which measured rates are carried over to it."""

from dataclasses import dataclass
from pathlib import Path

import torch

from system.foundation.config import resolve
from system.objectives.joint import JointModel

CONFIGS = Path(__file__).parents[3] / "configs"
# Dense bf16 of an H100 by its data sheet: no update is faster.
PEAK_FLOPS = 989e12
# Per parameter: master, two moments and the first average in float32, on all workers together; the
# weights of a pass in bf16, which rank 0 holds alone. Each further average is four more.
SHARED_BYTES, FIRST_BYTES = 16, 2


@dataclass(frozen=True, slots=True)
class Published:
    """What a save of it is made of."""

    held_bytes: int  # of the worker that holds most
    least_update_s: float  # by arithmetic: the flow's products alone, at the peak of every GPU
    updates_between: float  # two checkpoints


def published(stem: str) -> Published:
    """By the recipe's own numbers, its model built on meta."""
    needed = ["run.root=runs", "data.shards=shards", "objective.perceptual.trunk=trunk.pth"]
    recipe = resolve(CONFIGS / f"{stem}.yaml", needed).recipe
    with torch.device("meta"):
        model = JointModel(recipe)
    count = sum(weight.numel() for weight in model.parameters())
    flow = sum(weight.numel() for weight in model.flow.parameters())
    shared = (SHARED_BYTES + 4 * len(recipe.engine.further_decays)) * count
    operations = 6 * flow * recipe.tokens * recipe.run.global_batch
    return Published(
        shared // recipe.cluster.workers + FIRST_BYTES * count,
        operations / (PEAK_FLOPS * recipe.cluster.workers),
        recipe.run.checkpoint_every_images / recipe.run.global_batch,
    )
