"""Image to the raw output of the posterior: features at falling resolution, then a 1 by 1 map."""

from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.foundation.settings.autoencoder import Convolutional
from system.layers.convolution import Downsample
from system.layers.convolution import ResidualBlock
from system.layers.convolution import SpatialAttention
from system.layers.convolution import group_norm


def middle(channels: int, *, attention: bool) -> nn.Sequential:
    """The blocks at the lowest resolution, shared in shape by encoder and decoder."""
    inner = [SpatialAttention(channels)] if attention else []
    return nn.Sequential(
        ResidualBlock(channels, channels), *inner, ResidualBlock(channels, channels)
    )


class Encoder(nn.Module):
    """Convolutional encoder; every resolution but the last ends in a halving of the grid."""

    def __init__(self, shape: Convolutional, image_channels: int, outputs: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(image_channels, shape.width, 3, padding=1)
        levels: list[nn.Module] = []
        channels = shape.width
        for level, multiplier in enumerate(shape.multipliers):
            for _ in range(shape.blocks_per_level):
                levels.append(ResidualBlock(channels, shape.width * multiplier))
                channels = shape.width * multiplier
            if level < len(shape.multipliers) - 1:
                levels.append(Downsample(channels))
        self.levels = nn.Sequential(*levels)
        self.middle = middle(channels, attention=shape.attention)
        self.norm_out = group_norm(channels)
        self.conv_out = nn.Conv2d(channels, outputs, 3, padding=1)
        self.to_posterior = nn.Conv2d(outputs, outputs, 1)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        """What the posterior is read from."""
        features = self.middle(self.levels(self.conv_in(image)))
        return self.to_posterior(self.conv_out(functional.silu(self.norm_out(features))))
