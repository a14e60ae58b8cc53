"""No autoencoder: the latent is the image itself with noise, and decoding leaves it as it is.

Source: TARFlow, arXiv 2412.06329, section 3.3: Gaussian noise for generation, uniform noise of a
bin's width for likelihoods of 8-bit images.
"""

import math

from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.autoencoder.autoencoder import widen
from system.foundation.nouns import Posterior
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior


class PixelSpace(nn.Module):
    """The interface of an autoencoder, without a weight. Images are float in [-1, 1]."""

    def __init__(self, settings: Pixels) -> None:
        super().__init__()
        self.posterior = settings.posterior
        self.encoder = nn.Identity()
        self.decoder = nn.Identity()

    def encode(self, image: Float[Tensor, "B C H W"]) -> Posterior:
        """The image with its noise, float32 (or wider). A uniform draw lies in [-1, 1]."""
        image = widen(image)
        match self.posterior:
            case FixedPosterior(std=std):
                return Posterior(image, image.new_full((), std))
            case UniformPosterior(bins=bins):
                # Level k becomes 2 (k + u) / bins - 1, u in [0, 1): one half on average.
                # Rounded: grey 16 of 255 is not quite level 1 of 17, and bins must not overlap.
                level = ((image + 1) * ((bins - 1) / 2)).round()
                width = 2 / bins
                mean = (level + 0.5) * width - 1
                return Posterior(mean, image.new_full((), width / math.sqrt(12)), "uniform")

    def decode(self, latent: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The latent itself, float32 (or wider), noise and all."""
        return widen(latent)
