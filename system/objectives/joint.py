"""The model that is trained: autoencoder and flow as one module, under one objective.

    loss = reconstruction + perceptual + adversarial + weight * (nll - entropy)

The decoder and the flow read the same noisy latent. With a fixed spread the entropy is a constant;
with a learned one it keeps the posterior from collapsing to a point.

Frozen networks (the perceptual trunk) and the discriminator live outside this module, since the
engine casts and shards what is inside it: `train.update` adds their terms to `LossTerms`.

Source: SimFlow, arXiv 2512.04084, its evidence bound.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor
from torch import nn

from system.autoencoder.build import build_autoencoder
from system.flow.flow import Flow
from system.flow.flow import standard_normal_log_prob
from system.flow.flow import to_tokens
from system.foundation.nouns import Posterior
from system.foundation.recipe import Recipe
from system.foundation.settings.objective import Objective
from system.objectives.likelihood import entropy_per_dim
from system.objectives.likelihood import nats_per_dim
from system.objectives.reconstruction import reconstruction_loss
from system.objectives.routes import ROUTES
from system.objectives.routes import freeze_untrained


@dataclass(frozen=True, slots=True)
class LossTerms:
    """Unweighted terms of one micro-batch, float32, each a mean over its samples."""

    reconstruction: Float[Tensor, ""]
    nll: Float[Tensor, ""]  # nats per latent dimension
    entropy: Float[Tensor, ""]  # of the posterior, nats per latent dimension
    perceptual: Float[Tensor, ""]
    adversarial: Float[Tensor, ""]
    penalty: Float[Tensor, ""]  # mean square of every block's input, summed over blocks

    def total(self, objective: Objective) -> Float[Tensor, ""]:
        """The weighted sum; the one place where weights multiply."""
        total = objective.reconstruction.weight * self.reconstruction
        total = total + objective.likelihood.weight * (self.nll - self.entropy)
        total = total + objective.likelihood.latent_penalty * self.penalty
        if objective.perceptual.kind != "none":
            total = total + objective.perceptual.weight * self.perceptual
        if objective.adversarial.kind != "none":
            total = total + objective.adversarial.weight * self.adversarial
        return total


@dataclass(frozen=True, slots=True)
class JointOutput:
    """What one pass gives: losses, the decoded image for further losses, and numbers to watch."""

    terms: LossTerms
    reconstruction: Float[Tensor, "B C H W"]
    statistics: dict[str, Tensor]


class JointModel(nn.Module):
    """Autoencoder and flow of a recipe, with the recipe's gradient routes."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.objective = recipe.objective
        self.patch = recipe.flow.patch
        self.route = ROUTES[recipe.objective.route]
        self.autoencoder = build_autoencoder(recipe.autoencoder, recipe.data.image_channels)
        self.flow = Flow(
            recipe.flow,
            side=recipe.latent_size // recipe.flow.patch,
            token_width=recipe.token_width,
            classes=recipe.data.classes,
        )
        freeze_untrained(
            self.route,
            {
                "encoder": self.autoencoder.encoder,
                "decoder": self.autoencoder.decoder,
                "flow": self.flow,
            },
        )

    def forward(
        self,
        image: Float[Tensor, "B C H W"],
        label: Int[Tensor, "B"],
        latent_noise: Float[Tensor, "B c h w"],
        label_drop: Bool[Tensor, "B"],
    ) -> JointOutput:
        """Encode, add the posterior's noise, decode, and ask the flow for the likelihood."""
        posterior = self.autoencoder.encode(image)
        latent = posterior.sample(latent_noise)
        decoded = self.autoencoder.decode(
            latent if "encoder" in self.route.reconstruction else latent.detach()
        )
        reaches_encoder = "encoder" in self.route.likelihood
        entropy = entropy_per_dim(posterior)
        modelled = latent if reaches_encoder else latent.detach()
        nll, penalty = self._density(modelled, label, label_drop)
        zero = latent.new_zeros(())
        terms = LossTerms(
            reconstruction=reconstruction_loss(self.objective.reconstruction, decoded, image),
            nll=nll,
            entropy=entropy if reaches_encoder else entropy.detach(),
            perceptual=zero,
            adversarial=zero,
            penalty=penalty,
        )
        return JointOutput(terms, decoded, _statistics(posterior))

    def _density(
        self, latent: Float[Tensor, "B C h w"], label: Int[Tensor, "B"], drop: Bool[Tensor, "B"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Nats per dimension under the flow, or under N(0, I) where the route trains no flow; and
        the penalty on the blocks' inputs."""
        dims = latent[0].numel()
        if "flow" not in self.route.trained:
            nll = nats_per_dim(standard_normal_log_prob(latent), dims).mean()
            return nll, torch.zeros_like(nll)
        tokens = to_tokens(latent, self.patch)
        trace = self.flow.trace(tokens, self.flow.condition(label, drop))
        if self.training:
            self.flow.track_prior(trace.noise)
        # The unit prior also where the flow tracks its own: so TARFlow's code trains.
        log_prob = standard_normal_log_prob(trace.noise) + trace.log_det
        penalty = torch.stack([given.square().mean() for given in trace.inputs]).sum()
        return nats_per_dim(log_prob, dims).mean(), penalty


@torch.no_grad()
def _statistics(posterior: Posterior) -> dict[str, Tensor]:
    """How much of the latent is signal: the spread of the mean, and over that of the noise."""
    signal = posterior.mean.std()
    noise = posterior.std.mean()
    return {
        "latent/mean_std": signal,
        "latent/posterior_std": noise,
        "latent/signal_to_noise": signal / noise,
    }
