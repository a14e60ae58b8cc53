"""The stack of blocks: shallow ones near the data, a deep one near the noise.

Source: deep-shallow design of STARFlow, arXiv 2506.06276, section 3.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor
from torch import nn

from system.flow.block import Block
from system.flow.ordering import alternating
from system.foundation.settings import flow as settings
from system.layers.embedding import ClassEmbedding
from system.layers.embedding import Rotary
from system.layers.embedding import axial_rotary

LOG_TWO_PI = math.log(2 * math.pi)


class Flow(nn.Module):
    """An invertible map from tokens to Gaussian noise, given a class.

    `tokens` in raster order on a `side` by `side` grid, `token_width` numbers each.
    """

    def __init__(self, shape: settings.Flow, *, side: int, token_width: int, classes: int) -> None:
        super().__init__()
        self.shape = shape
        self.side = side
        self.token_width = token_width
        self.classes = classes
        self.embedding = ClassEmbedding(classes, shape.width)
        self.blocks = nn.ModuleList(
            Block(shape, depth, token_width, ordering)
            for depth, ordering in zip(shape.depths, alternating(len(shape.depths)), strict=True)
        )

    def condition(
        self, label: Int[Tensor, "B"], drop: Bool[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B E"]:
        """The class vectors that every block is steered by; the null class where `drop`."""
        return self.embedding(label, drop)

    def forward(
        self, tokens: Float[Tensor, "B T D"], condition: Float[Tensor, "B E"]
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B"]]:
        """Data to noise, and the log-determinant of the whole map in nats."""
        rotary = self.rotary(tokens.device)
        log_det = tokens.new_zeros(len(tokens))
        for block in self.blocks:
            tokens, gained = block(tokens, condition, rotary)
            log_det = log_det + gained
        return tokens, log_det

    def inverse(
        self, noise: Float[Tensor, "B T D"], condition: Float[Tensor, "B E"]
    ) -> Float[Tensor, "B T D"]:
        """Noise to data: the exact inverse of `forward`."""
        rotary = self.rotary(noise.device)
        for block in reversed(self.blocks):
            noise = block.inverse(noise, condition, rotary)
        return noise

    def log_prob(
        self, tokens: Float[Tensor, "B T D"], condition: Float[Tensor, "B E"]
    ) -> Float[Tensor, "B"]:
        """log p(tokens | class) in nats, constants kept: change of variables to N(0, I)."""
        noise, log_det = self(tokens, condition)
        return standard_normal_log_prob(noise) + log_det

    def rotary(self, device: torch.device) -> Rotary:
        """Positions of the token grid."""
        return axial_rotary(self.side, self.shape.head_width, self.shape.rope_base, device)


def standard_normal_log_prob(noise: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
    """log N(noise; 0, I) in nats, summed over the dimensions of a sample."""
    flat = noise.flatten(1)
    return -0.5 * (flat.square().sum(dim=1) + flat.shape[1] * LOG_TWO_PI)


def to_tokens(latent: Float[Tensor, "B C h w"], patch: int) -> Float[Tensor, "B T D"]:
    """Squares of `patch` by `patch` cells in raster order, channels first inside a token."""
    return rearrange(latent, "b c (h p) (w q) -> b (h w) (c p q)", p=patch, q=patch)


def to_latent(tokens: Float[Tensor, "B T D"], patch: int, size: int) -> Float[Tensor, "B C h w"]:
    """The inverse of `to_tokens` for a grid of `size` by `size` cells."""
    return rearrange(
        tokens, "b (h w) (c p q) -> b c (h p) (w q)", p=patch, q=patch, h=size // patch
    )
