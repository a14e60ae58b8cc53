"""The pair of encoder and decoder, with the posterior between them.

SimFlow's encoder gives a mean only, and the posterior's spread is a constant of the recipe: the
decoder learns to see through that noise, and the flow to model what it leaves. A learned spread
is the ordinary variational autoencoder; with noise added to its draws it is the latent of STARFlow.

From the encoder's output to the latent:

    mean, std  ->  normalised  ->  (mean - shift) * scale, std * scale  ->  std^2 + added_noise^2

A draw of N(mean, std^2) plus noise is one draw of N(mean, std^2 + noise^2). Layer normalisation is
of the mean, and the spread that of the normalised latent (SimFlow). Batch normalisation is of the
draws, as in REPA-E: a learned spread is divided by the same width as the mean; a fixed one, whose
point is to be known, stays that of the normalised latent. Decoding undoes shift and scale, which a
pretrained decoder knows nothing of, and not the normalisation: the decoder is trained on the latent
that the flow sees.

Source: SimFlow, arXiv 2512.04084; STARFlow, arXiv 2506.06276, section 3.3 (noise of spread 0.3).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.autoencoder.decoder import Decoder
from system.autoencoder.encoder import Encoder
from system.autoencoder.normalise import BatchStatistics
from system.autoencoder.normalise import Statistics
from system.autoencoder.normalise import cell_statistics
from system.foundation.nouns import Posterior
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior


class Autoencoder(nn.Module):
    """Image to posterior, latent to image. Images are float in [-1, 1]."""

    def __init__(self, shape: Convolutional, image_channels: int) -> None:
        super().__init__()
        self.shape = shape
        outputs = shape.latent_channels * (2 if shape.posterior.kind == "learned" else 1)
        self.encoder = Encoder(shape, image_channels, outputs)
        self.decoder = Decoder(shape, image_channels)
        if shape.normalise == "batch":
            self.batch_statistics = BatchStatistics(shape.latent_channels)

    def encode(self, image: Float[Tensor, "B C H W"]) -> Posterior:
        """q(z|x), float32 (or wider, if the weights are)."""
        return self.posterior_of(self.moments(image))

    def moments(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B M h w"]:
        """What the encoder says of an image, float32 (or wider): means and, where the spread is
        learned, its logarithms; not normalised, shifted or scaled yet."""
        return widen(self.encoder(image.to(self.encoder.conv_in.weight.dtype)))

    def posterior_of(self, moments: Float[Tensor, "B M h w"]) -> Posterior:
        """q(z|x) from what the encoder says of x."""
        scale = self.shape.latent_scale
        match self.shape.posterior:
            case FixedPosterior(std=fixed):
                mean = moments
                statistics = self._statistics(mean, None)
                std = moments.new_full((), fixed) * scale
            case LearnedPosterior(min_log_std=low, max_log_std=high, added_noise=noise):
                mean, log_std = moments.chunk(2, dim=1)
                std = log_std.clamp(low, high).exp()
                statistics = self._statistics(mean, std)
                if statistics is not None and self.shape.normalise == "batch":
                    std = std / statistics.width
                std = std * scale
                if noise:
                    std = (std.square() + noise**2).sqrt()
        if statistics is not None:
            mean = (mean - statistics.centre) / statistics.width
        return Posterior((mean - self.shape.latent_shift) * scale, std)

    def _statistics(
        self, mean: Float[Tensor, "B C h w"], std: Float[Tensor, "B C h w"] | None
    ) -> Statistics | None:
        """What normalises the latent. Those of a frozen encoder stand still, as its weights do."""
        match self.shape.normalise:
            case "none":
                return None
            case "layer":
                return cell_statistics(mean)
            case "batch" if self.training and self.encoder.conv_in.weight.requires_grad:
                return self.batch_statistics.observe(mean, std)
            case "batch":
                return self.batch_statistics.remembered()

    def decode(self, latent: Float[Tensor, "B C h w"]) -> Float[Tensor, "B c H W"]:
        """The image, float32 (or wider), not clamped."""
        raw = latent / self.shape.latent_scale + self.shape.latent_shift
        return widen(self.decoder(raw.to(self.decoder.conv_in.weight.dtype)))


def widen(value: Tensor) -> Tensor:
    """`value` in float32, or in float64 if it was."""
    return value.to(torch.promote_types(value.dtype, torch.float32))
