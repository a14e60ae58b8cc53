"""What the code length of a latent z ~ q(z | x) bounds, in bits per dimension of z.

    bits = E_q[-log2 p(z | class)] / dims        rate = bits - H(q(z | x)) / dims

`bits` is a length of the noisy latent. `rate` takes out the noise that no flow can save; it is one
term of  -log p(x | class) <= E_q[-log p(x | z)] + rate,  and of an autoencoder that is all that is
stated: the other term needs a density of pixels given z, which its decoder does not state.

Of a flow on pixels with uniform noise as wide as a level's bin, z tells x exactly: the other term
is zero, and `rate` is an upper bound on the bits of the 8-bit image itself. P(x) is the integral of
p over the bin, width^dims E_q[p(z)], and by Jensen's inequality

    -log2 P(x) / dims <= bits - log2(width) = bits + log2(128)    for 256 levels on [-1, 1].

That is TARFlow's number (arXiv 2412.06329). Gaussian noise has no such bound: it leaves the bin.
"""

import math

from jaxtyping import Float64
from torch import Tensor

from system.foundation.nouns import Posterior
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior
from system.objectives.likelihood import STANDARD_ENTROPY


def entropy_bits(posterior: Posterior) -> Float64[Tensor, "B"]:
    """Differential entropy of each image's posterior, bits per dimension."""
    spread = posterior.std.double().log().expand(posterior.mean.shape).flatten(1).mean(dim=1)
    return (spread + STANDARD_ENTROPY[posterior.family]) / math.log(2)


def bounds_pixels(autoencoder: Convolutional | Pixels) -> bool:
    """Whether the rate is an upper bound on the bits of the image itself."""
    return isinstance(autoencoder, Pixels) and isinstance(autoencoder.posterior, UniformPosterior)


def bound_of(autoencoder: Convolutional | Pixels) -> str:
    """What the rate bounds, in words."""
    if bounds_pixels(autoencoder):
        assert isinstance(autoencoder.posterior, UniformPosterior)
        return (
            "upper bound on the bits per channel value of the image in "
            f"{autoencoder.posterior.bins} levels (uniform dequantisation)"
        )
    return (
        "rate of the evidence bound, what the latent tells of the image beside its class; no bound "
        "on bits of pixels, for which a density of pixels given the latent is not stated"
    )
