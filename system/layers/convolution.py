"""Residual blocks, resampling and attention on feature maps, as in latent-diffusion autoencoders.

Source: layout of the autoencoder of LDM, arXiv 2112.10752.
"""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

GROUPS = 32


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with the field's 32 groups, or fewer where the channels are few."""
    groups = GROUPS
    while channels % groups or (channels // groups < 4 and groups > 1):
        groups //= 2
    return nn.GroupNorm(groups, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice; a 1 by 1 convolution on the shortcut where widths differ."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = group_norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, features: Float[Tensor, "B F h w"]) -> Float[Tensor, "B G h w"]:
        """Features of the same grid."""
        hidden = self.conv1(functional.silu(self.norm1(features)))
        hidden = self.conv2(functional.silu(self.norm2(hidden)))
        return self.shortcut(features) + hidden


class SpatialAttention(nn.Module):
    """Single-head self-attention over all cells of the grid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Float[Tensor, "B F h w"]) -> Float[Tensor, "B F h w"]:
        """Features of the same grid."""
        height = features.shape[-2]
        query, key, value = rearrange(
            self.qkv(self.norm(features)), "b (three f) h w -> three b 1 (h w) f", three=3
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return features + self.out(rearrange(mixed, "b 1 (h w) f -> b f h w", h=height))


class Downsample(nn.Module):
    """Halve the grid with a strided convolution, padded at the far edges only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, features: Float[Tensor, "B F H W"]) -> Float[Tensor, "B F h w"]:
        """Features of the halved grid."""
        return self.conv(functional.pad(features, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double the grid by nearest neighbours, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Float[Tensor, "B F h w"]) -> Float[Tensor, "B F H W"]:
        """Features of the doubled grid."""
        return self.conv(functional.interpolate(features, scale_factor=2.0, mode="nearest"))
