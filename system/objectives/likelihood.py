"""Likelihoods and entropies in the units that are compared: nats, nats and bits per dimension."""

import math

from jaxtyping import Float
from torch import Tensor

from system.foundation.nouns import Posterior


def nats_per_dim(log_prob: Float[Tensor, "B"], dims: int) -> Float[Tensor, "B"]:
    """Negative log-likelihood per dimension; the one place where nats are divided."""
    return -log_prob / dims


def bits_per_dim(nll: Float[Tensor, "B"], dims: int) -> Float[Tensor, "B"]:
    """Bits per dimension of a negative log-likelihood in nats per sample."""
    return nll / (dims * math.log(2))


def entropy_per_dim(posterior: Posterior) -> Float[Tensor, ""]:
    """Differential entropy of the posterior, nats per dimension, mean over the batch.

    The latent holds at least this noise, so a flow's nll per dimension cannot be lower on average:
    the difference of the two is what the latent tells about the image.
    """
    return posterior.std.log().mean() + 0.5 * math.log(2 * math.pi * math.e)
