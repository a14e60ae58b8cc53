"""What stops a run whose numbers have gone wrong, while it can still say which."""

import math

from system.foundation.errors import NumericsError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior
from system.objectives.likelihood import STANDARD_ENTROPY
from system.train.state import Progress

# Nats per dimension below the floor that pass as the arithmetic of bf16.
TOLERANCE = 0.05
# Standard deviations of the mean below the floor that pass as chance.
CHANCE = 6.0


def check_skips(progress: Progress, limit: int) -> None:
    """Raise NumericsError once more than `limit` updates in a row were skipped."""
    if progress.skipped_in_a_row > limit:
        raise NumericsError(
            f"{progress.skipped_in_a_row} updates in a row, up to {progress.images_seen:,} images, "
            f"had gradients that are not finite; engine.max_skipped_updates allows {limit}. Look "
            "in the ledger's last reports for the term that grew; a lower "
            "engine.optimiser.learning_rate, a longer warm-up or a smaller engine.gradient_clip "
            "are the usual cures"
        )


def likelihood_floor(autoencoder: Convolutional | Pixels) -> float:
    """The least entropy that the posterior's noise can have, nats per dimension.

    The latent is a mean plus that noise, so no density gives it a lower negative log-likelihood on
    average: cross-entropy >= entropy of the sum >= entropy of the noise.
    """
    scale = autoencoder.latent_scale if isinstance(autoencoder, Convolutional) else 1.0
    match autoencoder.posterior:
        case FixedPosterior(std=std):
            return STANDARD_ENTROPY["gaussian"] + math.log(std * scale)
        case LearnedPosterior(min_log_std=least, added_noise=noise):
            # Divided by a batch's width, a spread has no least value but that of the added noise.
            std = 0.0 if autoencoder.normalise == "batch" else math.exp(least) * scale
            spread = math.hypot(std, noise)
            return STANDARD_ENTROPY["gaussian"] + math.log(spread) if spread else -math.inf
        case UniformPosterior(bins=bins):
            return math.log(2 / bins)


def check_likelihood(recipe: Recipe, values: dict[str, float], images: int) -> None:
    """Raise NumericsError where the mean nll of `images` images lies below what is possible.

    That is the entropy of the posterior's noise: the least that the recipe allows, or, where the
    spread is learned and so larger, what was measured on the same images.
    """
    nll = values.get("loss/nll_nats")
    if nll is None:
        return
    floor = max(likelihood_floor(recipe.autoencoder), values.get("loss/entropy_nats", -math.inf))
    # The nll of Gaussian noise varies by 1/2 per dimension, that of uniform noise by less.
    dims = images * recipe.tokens * recipe.token_width
    allowed = floor - TOLERANCE - CHANCE * math.sqrt(0.5 / dims)
    if nll < allowed:
        raise NumericsError(
            f"loss/nll_nats is {nll:.4f} nats per dimension over {images:,} images, below the "
            f"{floor:.4f} that the noise of autoencoder.posterior "
            f"({recipe.autoencoder.posterior.kind}) makes the lowest possible. "
            "The likelihood is wrong, not good: the noise does not reach the flow, the same noise "
            "comes twice, or a log-determinant is counted wrongly"
        )
