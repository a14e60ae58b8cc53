"""Positions and class labels as vectors."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor
from torch import nn


@dataclass(frozen=True, slots=True)
class Rotary:
    """Cosines and sines that turn pairs of head entries by the position of their token."""

    cos: Float[Tensor, "T half"]
    sin: Float[Tensor, "T half"]

    def __getitem__(self, index: Tensor | slice) -> "Rotary":
        """The same for some of the tokens."""
        return Rotary(self.cos[index], self.sin[index])

    def turn(self, heads: Float[Tensor, "B N T K"]) -> Float[Tensor, "B N T K"]:
        """Rotate queries or keys, in float32 (or wider, if they are), back to their own type."""
        wide = torch.promote_types(heads.dtype, self.cos.dtype)
        left, right = heads.to(wide).chunk(2, dim=-1)
        turned = (left * self.cos - right * self.sin, right * self.cos + left * self.sin)
        return torch.cat(turned, dim=-1).to(heads.dtype)


@lru_cache(maxsize=32)
def axial_rotary(side: int, head_width: int, base: float, device: torch.device) -> Rotary:
    """Rotary positions of a `side` by `side` grid in raster order: half of the pairs turn with the
    row, half with the column.

    Held outside the module because a module cast to bf16 would round the angles.
    Source: RoFormer, arXiv 2104.09864; axial form as in STARFlow, arXiv 2506.06276.
    """
    pairs = head_width // 4
    rate = base ** (-torch.arange(pairs, dtype=torch.float32, device=device) / pairs)
    angle = torch.arange(side, dtype=torch.float32, device=device)[:, None] * rate
    row = angle[:, None, :].expand(side, side, pairs)
    column = angle[None, :, :].expand(side, side, pairs)
    grid = rearrange([row, column], "two h w pair -> (h w) (two pair)")
    return Rotary(grid.cos(), grid.sin())


class ClassEmbedding(nn.Module):
    """One vector per class. The null class is the mean of all of them, as in TARFlow.

    So the unconditional model lies in the middle of the conditional ones, which is where the
    one-gradient density classifier expands. Source: TARFlow, arXiv 2412.06329, released code.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(classes, width) * 0.02)

    def forward(
        self, label: Int[Tensor, "B"], drop: Bool[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B E"]:
        """The vectors of `label`, with the null class where `drop` says so."""
        chosen = self.table[label]
        if drop is None:
            return chosen
        return torch.where(drop[:, None], self.table.mean(dim=0), chosen)
