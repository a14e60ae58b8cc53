"""Likelihoods and entropies in the units that are compared: nats, nats and bits per dimension."""

import math

from jaxtyping import Float
from torch import Tensor

from system.foundation.nouns import Posterior

# Differential entropy at standard deviation one, nats. A uniform distribution then has the width
# sqrt(12), whose logarithm its entropy is.
STANDARD_ENTROPY = {
    "gaussian": 0.5 * math.log(2 * math.pi * math.e),
    "uniform": 0.5 * math.log(12),
}


def nats_per_dim(log_prob: Float[Tensor, "B"], dims: int) -> Float[Tensor, "B"]:
    """Negative log-likelihood per dimension; the one place where nats are divided."""
    return -log_prob / dims


def bits_per_dim(nll: Float[Tensor, "B"], dims: int) -> Float[Tensor, "B"]:
    """Bits per dimension of a negative log-likelihood in nats per sample."""
    return nll / (dims * math.log(2))


def entropy_per_dim(posterior: Posterior) -> Float[Tensor, ""]:
    """Differential entropy of the posterior, nats per dimension, mean over the batch.

    The latent holds at least this noise, so a flow's nll per dimension cannot be lower on average:
    the difference of the two is what the latent tells about the image. With uniform noise as wide
    as a pixel's bin that is a code length of the 8-bit image itself: TARFlow's likelihood,
    (nll + log 128) / log 2 bits per dimension (arXiv 2412.06329).
    """
    return posterior.std.log().mean() + STANDARD_ENTROPY[posterior.family]
