"""The model that is trained: autoencoder and flow as one module, under one objective.

    loss = reconstruction + perceptual + adversarial + alignment + weight * (nll - entropy)

The decoder and the flow read the same noisy latent. With a fixed spread the entropy is a constant;
with a learned one it keeps the posterior from collapsing to a point.

Frozen networks (the perceptual trunk, the teacher) and the discriminator live outside this module,
since the engine casts and shards what is inside it: `train.update` adds their terms to `LossTerms`.

Source: SimFlow, arXiv 2512.04084, its evidence bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor
from torch import nn

from system.alignment.heads import ProjectionHeads
from system.alignment.shared_pass import SharedPass
from system.alignment.strategies import Place
from system.alignment.strategies import aligned_features
from system.alignment.strategies import forward_features
from system.alignment.strategies import places_of
from system.alignment.strategies import scale_gradient
from system.alignment.strategies import shared_features
from system.alignment.strategies import shared_passes
from system.autoencoder.build import build_autoencoder
from system.flow.flow import Flow
from system.flow.flow import Trace
from system.flow.flow import standard_normal_log_prob
from system.flow.flow import to_tokens
from system.foundation.nouns import Posterior
from system.foundation.recipe import Recipe
from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import Objective
from system.layers.running import workers
from system.objectives.likelihood import entropy_per_dim
from system.objectives.likelihood import nats_per_dim
from system.objectives.reconstruction import reconstruction_loss
from system.objectives.routes import ROUTES
from system.objectives.routes import encoder_share
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
    alignment: Float[Tensor, ""]  # minus the mean cosine of features and teacher's tokens

    def total(self, objective: Objective) -> Float[Tensor, ""]:
        """The weighted sum; the one place where weights multiply."""
        total = objective.reconstruction.weight * self.reconstruction
        total = total + objective.likelihood.weight * (self.nll - self.entropy)
        total = total + objective.likelihood.latent_penalty * self.penalty
        if objective.perceptual.kind != "none":
            total = total + objective.perceptual.weight * self.perceptual
        if objective.adversarial.kind != "none":
            total = total + objective.adversarial.weight * self.adversarial
        if objective.alignment.kind != "none":
            total = total + objective.alignment.weight * self.alignment
        return total


@dataclass(frozen=True, slots=True)
class JointOutput:
    """What one pass gives: losses, what further losses are taken of, and numbers to watch."""

    terms: LossTerms
    reconstruction: Float[Tensor, "B C H W"]
    projected: tuple[Float[Tensor, "B T F"], ...]  # features of each aligned place, for the teacher
    statistics: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Density:
    """What the flow says of a latent."""

    nll: Float[Tensor, ""]
    penalty: Float[Tensor, ""]
    projected: tuple[Float[Tensor, "B T F"], ...]


class JointModel(nn.Module):
    """Autoencoder and flow of a recipe, with the recipe's gradient routes."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.objective = recipe.objective
        self.global_batch = recipe.run.global_batch
        self.patch = recipe.flow.patch
        self.route = ROUTES[recipe.objective.route]
        self.autoencoder = build_autoencoder(recipe.autoencoder, recipe.data.image_channels)
        self.flow = Flow(
            recipe.flow,
            side=recipe.latent_size // recipe.flow.patch,
            token_width=recipe.token_width,
            classes=recipe.data.classes,
        )
        self.heads = None
        if isinstance(recipe.objective.alignment, FeatureAlignment):
            self.heads = ProjectionHeads(recipe.objective.alignment, recipe.flow.width)
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
        moments: Float[Tensor, "B M h w"] | None = None,
    ) -> JointOutput:
        """Encode, add the posterior's noise, decode, and ask the flow for the likelihood.

        `moments` are what a frozen encoder says of the image, where that is known already.
        """
        if moments is None:
            posterior = self.autoencoder.encode(image)
        else:
            posterior = self.autoencoder.posterior_of(moments)
        latent = posterior.sample(latent_noise)
        decoded = self.autoencoder.decode(
            latent if "encoder" in self.route.reconstruction else latent.detach()
        )
        reaches_encoder = "encoder" in self.route.likelihood
        entropy = entropy_per_dim(posterior)
        density = self._density(latent, label, label_drop)
        zero = latent.new_zeros(())
        terms = LossTerms(
            reconstruction=reconstruction_loss(self.objective.reconstruction, decoded, image),
            nll=density.nll,
            entropy=entropy if reaches_encoder else entropy.detach(),
            perceptual=zero,
            adversarial=zero,
            penalty=density.penalty,
            alignment=zero,
        )
        return JointOutput(terms, decoded, density.projected, _statistics(posterior))

    def _density(
        self, latent: Float[Tensor, "B C h w"], label: Int[Tensor, "B"], drop: Bool[Tensor, "B"]
    ) -> Density:
        """Nats per dimension under the flow, or under N(0, I) where the route trains no flow; the
        penalty on the blocks' inputs; and the aligned features, projected."""
        dims = latent[0].numel()
        modelled = latent if "encoder" in self.route.likelihood else latent.detach()
        if "flow" not in self.route.trained:
            nll = nats_per_dim(standard_normal_log_prob(modelled), dims).mean()
            return Density(nll, torch.zeros_like(nll), ())
        condition = self.flow.condition(label, drop)
        tokens, passes = to_tokens(modelled, self.patch), self._shared_passes()
        trace = self.flow.trace(tokens, condition, self._taps(), passes)
        if self.training:
            self.flow.track_prior(trace.noise, len(latent) * workers() / self.global_batch)
        # The unit prior also where the flow tracks its own: so TARFlow's code trains.
        log_prob = standard_normal_log_prob(trace.noise) + trace.log_det
        penalty = torch.stack([given.square().mean() for given in trace.inputs]).sum()
        if passes:
            projected = self._project_shared(passes, trace.noise)
        else:
            projected = self._project(trace, to_tokens(latent, self.patch), condition)
        return Density(nats_per_dim(log_prob, dims).mean(), penalty, projected)

    def _taps(self) -> frozenset[Place]:
        """The places whose features the normal pass has to give."""
        alignment = self.objective.alignment
        if not isinstance(alignment, FeatureAlignment) or alignment.strategy != "forward":
            return frozenset()
        return frozenset(places_of(alignment, len(self.flow.blocks)))

    def _shared_passes(self) -> dict[int, SharedPass]:
        """The blocks whose normal pass serves for the aligned features as well."""
        alignment = self.objective.alignment
        if not isinstance(alignment, FeatureAlignment):
            return {}
        return shared_passes(alignment, len(self.flow.blocks))

    def _project_shared(
        self, passes: Mapping[int, SharedPass], noise: Float[Tensor, "B T D"]
    ) -> tuple[Float[Tensor, "B T F"], ...]:
        """The features of every aligned place out of shared passes, through their heads."""
        alignment = self.objective.alignment
        assert self.heads is not None
        assert isinstance(alignment, FeatureAlignment)
        return self.heads(shared_features(alignment, passes, len(self.flow.blocks), noise))

    def _project(
        self, trace: Trace, tokens: Float[Tensor, "B T D"], condition: Float[Tensor, "B V"]
    ) -> tuple[Float[Tensor, "B T F"], ...]:
        """The features of every aligned place, through their heads; none without alignment."""
        alignment = self.objective.alignment
        if self.heads is None or not isinstance(alignment, FeatureAlignment):
            return ()
        share = encoder_share(self.route, alignment)
        if share is None:
            return self.heads(aligned_features(alignment, self.flow, trace, condition))
        places = places_of(alignment, len(self.flow.blocks))
        found = forward_features(self.flow, scale_gradient(tokens, share), condition, places)
        return self.heads(tuple(found[place] for place in places))


@torch.no_grad()
def _statistics(posterior: Posterior) -> dict[str, Tensor]:
    """How much of the latent is signal: the spread of the mean, and over that of the noise.

    What all images share is spread, but none over the images: that alone tells them apart.
    """
    signal = posterior.mean.std()
    noise = posterior.std.mean()
    across = {}
    if len(posterior.mean) > 1:
        across["latent/batch_std"] = posterior.mean.var(dim=0).mean().sqrt()
    return across | {
        "latent/mean_std": signal,
        "latent/posterior_std": noise,
        "latent/signal_to_noise": signal / noise,
    }
