"""What stops a run whose numbers have gone wrong, while it can still say which."""

import math

from system.foundation.errors import NumericsError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import FixedPosterior
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


def likelihood_floor(std: float) -> float:
    """Entropy of the posterior's noise, nats per dimension.

    The latent is a mean plus that noise, so no density gives it a lower negative log-likelihood on
    average: cross-entropy >= entropy of the sum >= entropy of the noise.
    """
    return 0.5 * math.log(2 * math.pi * math.e * std**2)


def check_likelihood(recipe: Recipe, values: dict[str, float], images: int) -> None:
    """Raise NumericsError where the mean nll of `images` images lies below what is possible.

    Applies to a fixed posterior, whose floor is known.
    """
    posterior = recipe.autoencoder.posterior
    nll = values.get("loss/nll_nats")
    if nll is None or not isinstance(posterior, FixedPosterior):
        return
    floor = likelihood_floor(posterior.std)
    # The nll of Gaussian noise varies by 1/2 per dimension.
    dims = images * recipe.tokens * recipe.token_width
    allowed = floor - TOLERANCE - CHANCE * math.sqrt(0.5 / dims)
    if nll < allowed:
        raise NumericsError(
            f"loss/nll_nats is {nll:.4f} nats per dimension over {images:,} images, below the "
            f"{floor:.4f} that noise of posterior std {posterior.std} makes the lowest possible. "
            "The likelihood is wrong, not good: the noise does not reach the flow, the same noise "
            "comes twice, or a log-determinant is counted wrongly"
        )
