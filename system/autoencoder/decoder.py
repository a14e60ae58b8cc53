"""Latent to image: features at rising resolution."""

from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.autoencoder.encoder import middle
from system.foundation.settings.autoencoder import Convolutional
from system.layers.convolution import ResidualBlock
from system.layers.convolution import Upsample
from system.layers.convolution import group_norm


class Decoder(nn.Module):
    """The encoder's mirror, with one more residual block per resolution."""

    def __init__(self, shape: Convolutional, image_channels: int) -> None:
        super().__init__()
        channels = shape.width * shape.multipliers[-1]
        self.from_latent = nn.Conv2d(shape.latent_channels, shape.latent_channels, 1)
        self.conv_in = nn.Conv2d(shape.latent_channels, channels, 3, padding=1)
        self.middle = middle(channels, attention=shape.attention)
        levels: list[nn.Module] = []
        for level, multiplier in reversed(list(enumerate(shape.multipliers))):
            for _ in range(shape.blocks_per_level + 1):
                levels.append(ResidualBlock(channels, shape.width * multiplier))
                channels = shape.width * multiplier
            if level > 0:
                levels.append(Upsample(channels))
        self.levels = nn.Sequential(*levels)
        self.norm_out = group_norm(channels)
        self.conv_out = nn.Conv2d(channels, image_channels, 3, padding=1)

    def forward(self, latent: Float[Tensor, "B C h w"]) -> Float[Tensor, "B c H W"]:
        """The image, not clamped."""
        features = self.levels(self.middle(self.conv_in(self.from_latent(latent))))
        return self.conv_out(functional.silu(self.norm_out(features)))
