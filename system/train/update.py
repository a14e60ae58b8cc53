"""One update: a global batch in, the weights moved once.

Per micro-batch: the joint model's pass, then the decoder's terms through the frozen networks, then
the discriminator's own pass. All randomness is drawn for the positions of the samples, so it does
not matter over how many workers and passes a batch is cut.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from typing import Protocol
from typing import runtime_checkable

import torch
from jaxtyping import Bool
from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.alignment.teacher import Teacher
from system.engine.deepspeed_engine import Engine
from system.engine.deepspeed_engine import StepOutcome
from system.engine.freeze import frozen
from system.engine.schedules import averaging_decays
from system.engine.schedules import learning_rate
from system.foundation import streams
from system.foundation.cursor import Cursor
from system.foundation.nouns import Batch
from system.foundation.recipe import Recipe
from system.foundation.settings.objective import PatchGan
from system.objectives.adversarial import discriminator_loss
from system.objectives.adversarial import generator_loss
from system.objectives.alignment import alignment_loss
from system.objectives.joint import JointOutput
from system.objectives.perceptual import PerceptualLoss
from system.train.guards.stragglers import Stopwatch
from system.train.report import Outcome
from system.train.report import Pass
from system.train.state import TrainState


def update(state: TrainState, stream: Iterator[tuple[Batch, Cursor]]) -> Outcome:
    """Consume one global batch, move the weights unless a gradient is not finite, and say how.

    The joint model and the discriminator each stand still where their own gradient is not finite.
    The update counts as skipped if either does, though the other has then moved.
    """
    critic = _active_critic(state)
    means: dict[str, Tensor] = {}
    waited, passes, forward = 0.0, list[Pass](), Stopwatch(state.world.device)
    for _ in range(state.accumulation):
        start = time.monotonic()
        batch, _ = next(stream)
        waited += time.monotonic() - start
        micro = micro_step(state, critic, batch, forward)
        values = {name: value.detach() for name, value in micro.items()}
        values |= state.taps.take() if state.taps else {}
        passes.append(Pass(int(batch.position[0]), batch.key, values))
        for name, value in values.items():
            share = value / state.accumulation
            means[name] = means[name] + share if name in means else share
    state.progress.images_seen += state.recipe.run.global_batch
    numbers, stepped = _step(state, critic)
    _count(state, skipped=stepped.skipped)
    numbers["train/updates"] = state.progress.updates
    numbers["train/skipped_updates"] = state.progress.skipped_updates
    images = state.recipe.run.global_batch
    norm, skipped = stepped.gradient_norm, stepped.skipped
    return Outcome(means, numbers, norm, images, waited, skipped, tuple(passes), forward)


@dataclass(frozen=True, slots=True)
class Draws:
    """What chance decides for a micro-batch."""

    latent_noise: Float[Tensor, "B c h w"]
    label_drop: Bool[Tensor, "B"]


def draw(recipe: Recipe, batch: Batch) -> Draws:
    """The draws that belong to the positions of the batch's samples."""
    seed, positions = recipe.run.seed, batch.position.tolist()
    side = recipe.latent_size
    shape = (recipe.latent_channels, side, side)
    noise = streams.normal(seed, "posterior", positions, shape)
    drop = streams.uniform(seed, "label_drop", positions) < recipe.flow.label_drop
    device = batch.image.device
    return Draws(_brought(noise, device), _brought(drop, device))


def _brought(drawn: Tensor, device: torch.device) -> Tensor:
    """Draws on the device: to a GPU from pinned memory, so that the host waits for no copy."""
    if device.type != "cuda":
        return drawn.to(device)
    return drawn.pin_memory().to(device, non_blocking=True)


@runtime_checkable
class PassEngine(Protocol):
    """What a pass asks of an engine."""

    module: nn.Module

    def forward(self, *inputs: Any) -> Any:
        """The module's output, ready for `backward`."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of one micro-batch's loss."""


@runtime_checkable
class PassState(Protocol):
    """What a pass reads of a state: all of it is there without an optimiser, too."""

    @property
    def recipe(self) -> Recipe:
        """The run's settings."""

    @property
    def engine(self) -> PassEngine:
        """Of the joint model."""

    @property
    def perceptual(self) -> PerceptualLoss | None:
        """The frozen trunk, where the objective has one."""

    @property
    def teacher(self) -> Teacher | None:
        """The frozen teacher, where it is asked."""


def micro_step(
    state: PassState, critic: PassEngine | None, batch: Batch, forward: Stopwatch
) -> dict[str, Tensor]:
    """Forward and backward of one micro-batch through every engine."""
    draws = draw(state.recipe, batch)
    moments = batch.features.get("moments")
    with forward.running():
        output = state.engine.forward(
            batch.image, batch.label, draws.latent_noise, draws.label_drop, moments
        )
    terms = output.terms
    if state.perceptual is not None:
        terms = replace(terms, perceptual=state.perceptual(output.reconstruction, batch.image))
    if (tokens := _teacher_tokens(state, batch)) is not None:
        terms = replace(terms, alignment=alignment_loss(output.projected, tokens))
    if critic is None:
        total = terms.total(state.recipe.objective)
        state.engine.backward(total)
        return _means(state, replace(output, terms=terms), total)
    with frozen(critic.module):
        terms = replace(terms, adversarial=generator_loss(critic.module(output.reconstruction)))
        total = terms.total(state.recipe.objective)
        state.engine.backward(total)
    real, fake = critic.forward(torch.cat([batch.image, output.reconstruction.detach()])).chunk(2)
    critic_loss = discriminator_loss(real, fake)
    critic.backward(critic_loss)
    return _means(state, replace(output, terms=terms), total) | {"loss/critic": critic_loss}


def _teacher_tokens(state: PassState, batch: Batch) -> Float[Tensor, "B T F"] | None:
    """What the teacher makes of the images, read with them or asked for; None without alignment."""
    return batch.features.get("teacher") if state.teacher is None else state.teacher(batch.image)


def _means(state: PassState, output: JointOutput, total: Tensor) -> dict[str, Tensor]:
    terms, objective = output.terms, state.recipe.objective
    means = {
        "loss/total": total,
        "loss/reconstruction": terms.reconstruction,
        "loss/nll_nats": terms.nll,
        "loss/entropy_nats": terms.entropy,
    }
    if objective.likelihood.latent_penalty:
        means["loss/penalty"] = terms.penalty
    if objective.perceptual.kind != "none":
        means["loss/perceptual"] = terms.perceptual
    if objective.adversarial.kind != "none":
        means["loss/adversarial"] = terms.adversarial
    if objective.alignment.kind != "none":
        means["loss/alignment"] = terms.alignment
        means["alignment/cosine"] = -terms.alignment
    return means | output.statistics


def _active_critic(state: TrainState) -> Engine | None:
    """The discriminator's engine, once it takes part."""
    adversarial = state.recipe.objective.adversarial
    if isinstance(adversarial, PatchGan) and state.progress.images_seen >= adversarial.start_images:
        return state.critic
    return None


def _step(state: TrainState, critic: Engine | None) -> tuple[dict[str, float], StepOutcome]:
    """Step every engine; what it was done with, and what it came to.

    The gradient's norm is the joint model's; skipped says that not every engine moved.
    """
    settings = state.recipe.engine
    rate = _rate(state, settings.optimiser.learning_rate)
    decays = averaging_decays(settings, state.progress.updates)
    stepped = state.engine.step(rate, decays)
    adversarial = state.recipe.objective.adversarial
    if critic is not None and isinstance(adversarial, PatchGan):
        critic_stepped = critic.step(_rate(state, adversarial.learning_rate), decays[:1])
        stepped = replace(stepped, skipped=stepped.skipped or critic_stepped.skipped)
    return {"train/learning_rate": rate, "train/averaging_decay": decays[0]}, stepped


def _rate(state: TrainState, peak: float) -> float:
    run, schedule = state.recipe.run, state.recipe.engine.schedule
    return learning_rate(schedule, peak, state.progress.images_seen, run.total_images)


def _count(state: TrainState, *, skipped: bool) -> None:
    progress = state.progress
    progress.updates += not skipped
    progress.skipped_updates += skipped
    progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if skipped else 0
