"""Samples that do harm: found in the real stream, and given their effect by a hook on the model."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch import nn

from data_pipeline.stream.loader import open_stream
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.train.state import TrainState


def image_at(state: TrainState, position: int) -> Tensor:
    """The image at a position of a run's stream."""
    stream = open_stream(
        state.manifest,
        state.recipe.data,
        seed=state.recipe.run.seed,
        world=World(),
        global_batch=1,
        micro_batch=1,
        images_seen=position,
    )
    batch, _ = next(stream)
    stream.close()
    return batch.image[0].clone()


def poisoned(
    positions: list[int], becomes: Callable[[Tensor], Tensor]
) -> Callable[[TrainState], None]:
    """What makes a state whose model is given something else in place of the images there."""

    def prepare(state: TrainState) -> None:
        poison = [image_at(state, position) for position in positions]

        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            image, *rest = inputs
            seen = image.clone()
            for row, own in enumerate(image):
                if any(torch.equal(own.float(), each.to(own.dtype).float()) for each in poison):
                    seen[row] = becomes(own)
            return (seen, *rest)

        state.engine.module.register_forward_pre_hook(look)

    return prepare


def watched(recipe: Recipe, **spikes: object) -> Recipe:
    """The recipe, with a watch that needs few updates and minds no ordinary noise."""
    given = {
        "least_updates": 6,
        "odd_updates": 1,
        "updates_before": 0,
        "loss_deviations": 100.0,
        "gradient_deviations": 50.0,
    }
    settings = recipe.guards.spikes.model_copy(update=given | spikes)
    guards = recipe.guards.model_copy(update={"spikes": settings})
    return recipe.model_copy(update={"guards": guards})
