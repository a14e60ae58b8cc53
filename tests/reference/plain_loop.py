"""Training as one would write it on a blackboard: one process, whole batches, AdamW by hand.

Slow and obvious, with nothing of the engine or the update in it. What ZeRO does on several workers
must come to the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from data_pipeline.shards.manifest import Manifest
from data_pipeline.stream.loader import open_stream
from system.foundation import streams
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.objectives.joint import JointModel


@dataclass
class PlainRun:
    """What every update came to, and what the weights are at the end."""

    losses: list[float]
    gradient_norms: list[float]
    weights: dict[str, Tensor]
    averages: dict[str, Tensor]
    sensitivity: dict[str, Tensor]  # of each weight to an error of its tensor's largest gradient


def plain_loop(recipe: Recipe, manifest: Manifest, model: JointModel, updates: int) -> PlainRun:
    """Train `model` for some updates at the recipe's peak learning rate.

    In bf16 the passes run on a rounded copy of float32 weights. AdamW divides a gradient by its own
    size, so where that is small beside the tensor's largest, rounding of the sums that it comes
    from moves the weight far: `sensitivity` says how far, to first order.
    """
    seed, batch_size = recipe.run.seed, recipe.run.global_batch
    adamw = recipe.engine.optimiser
    low = torch.bfloat16 if recipe.engine.precision == "bf16" else torch.float32
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    weights = {name: w.detach().to(low).float() for name, w in model.named_parameters()}
    averages = {name: weights[name].clone() for name in names}
    first = {name: torch.zeros_like(weights[name]) for name in names}
    second = {name: torch.zeros_like(weights[name]) for name in names}
    model = model.to(low)
    stream = open_stream(
        manifest,
        recipe.data,
        seed=seed,
        world=World(),
        global_batch=batch_size,
        micro_batch=batch_size,
        images_seen=0,
    )
    sensitivity = {name: torch.zeros_like(weights[name]) for name in names}
    run = PlainRun([], [], weights, averages, sensitivity)
    for update in range(updates):
        batch, _ = next(stream)
        positions = batch.position.tolist()
        side = recipe.latent_size
        shape = (recipe.autoencoder.latent_channels, side, side)
        noise = streams.normal(seed, "posterior", positions, shape)
        drop = streams.uniform(seed, "label_drop", positions) < recipe.flow.label_drop

        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(weights[name])
                weight.grad = None
        loss = model(batch.image, batch.label, noise, drop).terms.total(recipe.objective)
        loss.backward()
        gradients = {
            name: weight.grad.float()
            for name, weight in model.named_parameters()
            if weight.grad is not None
        }
        norm = torch.sqrt(sum(gradient.square().sum() for gradient in gradients.values()))
        shrink = min(1.0, recipe.engine.gradient_clip / (norm.item() + 1e-6))

        step = update + 1
        decay = min(recipe.engine.averaging_decay, (1 + update) / (10 + update))
        for name in names:
            gradient, weight = gradients[name] * shrink, weights[name]
            first[name] = adamw.beta1 * first[name] + (1 - adamw.beta1) * gradient
            second[name] = adamw.beta2 * second[name] + (1 - adamw.beta2) * gradient.square()
            mean = first[name] / (1 - adamw.beta1**step)
            spread = (second[name] / (1 - adamw.beta2**step)).sqrt() + adamw.eps
            is_matrix = weight.ndim >= 2 and not name.endswith("vectors.table")
            if is_matrix:
                weight = weight - adamw.learning_rate * adamw.weight_decay * weight
            weights[name] = weight - adamw.learning_rate * mean / spread
            averages[name] = decay * averages[name] + (1 - decay) * weights[name]
            sensitivity[name] += adamw.learning_rate * gradient.abs().max() / spread
        run.losses.append(loss.item())
        run.gradient_norms.append(norm.item())
    return run
