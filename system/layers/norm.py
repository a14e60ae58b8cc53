"""Norms before attention and perceptron: with weights of their own, or made from a class vector.

Source: adaptive layer norm of DiT, arXiv 2212.09748, section 3.2 (adaLN-Zero); the form without
gates is the one in STARFlow's released code.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm, and the gate on what is computed from its result."""

    weight: Tensor
    bias: Tensor
    gate: Tensor | float
    eps: float

    def __call__(self, hidden: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        """The normalised tokens."""
        normed = functional.layer_norm(hidden, hidden.shape[-1:], eps=self.eps)
        return normed * self.weight + self.bias


class AdaptiveNorms(nn.Module):
    """The two norms of a layer, shifted, scaled and (with six ways) gated by the class.

    All start at zero: six ways leave a fresh layer's input unchanged.
    """

    def __init__(self, width: int, ways: int) -> None:
        super().__init__()
        self.ways = ways
        self.modulation = nn.Linear(width, ways * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, vector: Float[Tensor, "B E"]) -> tuple[Norm, Norm]:
        """The norms of attention and perceptron."""
        parts = self.modulation(functional.silu(vector))[:, None].chunk(self.ways, dim=-1)
        half = self.ways // 2
        return self._norm(*parts[:half]), self._norm(*parts[half:])

    def _norm(self, shift: Tensor, scale: Tensor, gate: Tensor | float = 1.0) -> Norm:
        return Norm(1 + scale, shift, gate, eps=1e-6)


class PlainNorms(nn.Module):
    """The two norms of a layer, with weights of their own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.LayerNorm(width)
        self.perceptron = nn.LayerNorm(width)

    def forward(self, vector: Tensor | None) -> tuple[Norm, Norm]:
        """The norms of attention and perceptron; a class vector is not looked at."""
        return self._norm(self.attention), self._norm(self.perceptron)

    def _norm(self, norm: nn.LayerNorm) -> Norm:
        return Norm(norm.weight, norm.bias, 1.0, eps=norm.eps)


class RmsNorm(nn.Module):
    """Root-mean-square norm; its weight is one plus what is learned. Computed in the input's type.

    Source: arXiv 1910.07467; the offset as in STARFlow's released code.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(width))

    def forward(self, hidden: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        """The normalised tokens."""
        weight = 1 + self.offset.to(hidden.dtype)
        return functional.rms_norm(hidden, hidden.shape[-1:], weight, eps=1e-6)
