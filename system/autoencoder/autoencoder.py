"""The pair of encoder and decoder, with the posterior between them.

SimFlow's encoder gives a mean only, and the posterior's spread is a constant of the recipe: the
decoder learns to see through that noise, and the flow to model what it leaves. A learned spread
is the ordinary variational autoencoder, kept for comparison.

Source: SimFlow, arXiv 2512.04084.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.autoencoder.decoder import Decoder
from system.autoencoder.encoder import Encoder
from system.foundation.nouns import Posterior
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior


class Autoencoder(nn.Module):
    """Image to posterior, latent to image. Images are float in [-1, 1]."""

    def __init__(self, shape: Convolutional, image_channels: int) -> None:
        super().__init__()
        self.spread = shape.posterior
        outputs = shape.latent_channels * (2 if self.spread.kind == "learned" else 1)
        self.encoder = Encoder(shape, image_channels, outputs)
        self.decoder = Decoder(shape, image_channels)

    def encode(self, image: Float[Tensor, "B C H W"]) -> Posterior:
        """q(z|x), float32 (or wider, if the weights are)."""
        weight = self.encoder.conv_in.weight
        raw = widen(self.encoder(image.to(weight.dtype)))
        match self.spread:
            case FixedPosterior(std=std):
                return Posterior(raw, raw.new_tensor(std))
            case LearnedPosterior(min_log_std=low, max_log_std=high):
                mean, log_std = raw.chunk(2, dim=1)
                return Posterior(mean, log_std.clamp(low, high).exp())

    def decode(self, latent: Float[Tensor, "B C h w"]) -> Float[Tensor, "B c H W"]:
        """The image, float32 (or wider), not clamped."""
        return widen(self.decoder(latent.to(self.decoder.conv_in.weight.dtype)))


def widen(value: Tensor) -> Tensor:
    """`value` in float32, or in float64 if it was."""
    return value.to(torch.promote_types(value.dtype, torch.float32))
