"""From a recipe to a state that can be trained: the models, their engines, their first weights."""

import torch

from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import check_manifest
from system.autoencoder.autoencoder import Autoencoder
from system.engine.deepspeed_engine import Engine
from system.foundation import streams
from system.foundation.recipe import Recipe
from system.foundation.settings.objective import Lpips
from system.foundation.settings.objective import PatchGan
from system.foundation.world import World
from system.objectives.adversarial import PatchDiscriminator
from system.objectives.joint import JointModel
from system.objectives.perceptual import PerceptualLoss
from system.train.compilation import compile_parts
from system.train.frozen import build_teacher
from system.train.frozen import fitting_features
from system.train.guards.gradients import GradientTaps
from system.train.state import TrainState
from system.train.state import cut
from system.train.warm_start import warm_start
from system.train.warm_start import warm_start_flow


def assemble(recipe: Recipe, world: World, manifest: Manifest, *, attempt: int = 1) -> TrainState:
    """The state of a run before its first image. All workers must take part.

    `manifest` is of all splits. Raises BadInput (DataError, CheckpointError) where the data or the
    weights to start from are not what the recipe expects.
    """
    train = manifest.split("train")
    check_manifest(train, recipe.data)
    model = build_model(recipe)
    features = fitting_features(recipe, train, model.autoencoder)
    if recipe.engine.compile:
        compile_parts(model)
    micro_batch, accumulation = cut(recipe, world)
    engine = Engine(
        model, recipe.engine, world=world, micro_batch=micro_batch, accumulation=accumulation
    )
    objective = recipe.objective
    critic = perceptual = None
    if isinstance(objective.adversarial, PatchGan):
        critic = _critic(recipe, objective.adversarial, world)
    if isinstance(objective.perceptual, Lpips):
        perceptual = PerceptualLoss(objective.perceptual.trunk).to(world.device)
    return TrainState(
        recipe,
        world,
        train,
        engine,
        critic,
        perceptual,
        teacher=build_teacher(recipe, world.device) if features is None else None,
        features=features,
        taps=GradientTaps(
            {
                "encoder": model.autoencoder.encoder,
                "decoder": model.autoencoder.decoder,
                "flow": model.flow,
            }
        ),
        attempt=attempt,
    )


def build_model(recipe: Recipe) -> JointModel:
    """The joint model with its first weights: drawn from the run's seed, or partly read.

    Raises CheckpointError where `autoencoder.weights` or `flow.weights` does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed(recipe, "model"))
        model = JointModel(recipe)
    if isinstance(model.autoencoder, Autoencoder) and recipe.autoencoder.weights is not None:
        warm_start(model.autoencoder, recipe.autoencoder.weights)
    if recipe.flow.weights is not None:
        warm_start_flow(model.flow, recipe.flow.weights)
    return model


def _critic(recipe: Recipe, adversarial: PatchGan, world: World) -> Engine:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed(recipe, "discriminator"))
        module = PatchDiscriminator(adversarial, recipe.data.image_channels)
    micro_batch, accumulation = cut(recipe, world)
    # A pass of the discriminator holds real and decoded images.
    return Engine(
        module, recipe.engine, world=world, micro_batch=2 * micro_batch, accumulation=accumulation
    )


def _seed(recipe: Recipe, stream: str) -> int:
    """A seed for torch's initialisers, which know no other source than the global generator."""
    return int(streams.generator(recipe.run.seed, f"weights/{stream}").integers(2**63))
