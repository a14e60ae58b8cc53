"""Positions and class labels as vectors."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch import nn

CPU = torch.device("cpu")


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

    def before(self, count: int) -> "Rotary":
        """With `count` tokens in front, at the place of the first."""
        front = torch.zeros(count, dtype=torch.long, device=self.cos.device)
        every = torch.arange(len(self.cos), device=self.cos.device)
        return self[torch.cat([front, every])]


@lru_cache(maxsize=32)
def axial_rotary(
    side: int,
    pairs: int,
    base: float,
    *,
    still_pairs: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device = CPU,
) -> Rotary:
    """Rotary positions of a `side` by `side` grid in raster order: of the pairs of a head, one half
    turns with the row, one with the column; `still_pairs` more do not turn.

    Held outside the module because a module cast to bf16 would round the angles.
    Source: RoFormer, arXiv 2104.09864; axial form as in STARFlow, arXiv 2506.06276.
    """
    half = pairs // 2
    rate = base ** (-torch.arange(half, dtype=torch.float64, device=device) / half)
    angle = torch.arange(side, dtype=torch.float64, device=device)[:, None] * rate
    row = angle[:, None, :].expand(side, side, half)
    column = angle[None, :, :].expand(side, side, half)
    still = angle.new_zeros(side, side, still_pairs)
    grid = rearrange(torch.cat([row, column, still], dim=-1), "h w pair -> (h w) pair")
    return Rotary(grid.cos().to(dtype), grid.sin().to(dtype))


def drawn_parameter(*shape: int, spread: float) -> nn.Parameter:
    """A parameter that starts normal, with this standard deviation."""
    drawn = torch.empty(shape)
    # On the meta device, where a driver builds the model to know its size, there is nothing to
    # fill, and filling it would bring in torch's compiler: nearly two seconds of every start.
    if not drawn.is_meta:
        nn.init.normal_(drawn, std=spread)
    return nn.Parameter(drawn)


class ClassVectors(nn.Module):
    """One vector per class, mixed in any proportion.

    A class is asked for as a mixture over all classes, so the null class (their mean) lies in the
    middle of the conditional ones, which is where the one-gradient density classifier expands.
    Source: TARFlow, arXiv 2412.06329, released code.
    """

    def __init__(self, classes: int, width: int, spread: float) -> None:
        super().__init__()
        self.table = drawn_parameter(classes, width, spread=spread)

    def forward(self, mixture: Float[Tensor, "B V"]) -> Float[Tensor, "B E"]:
        """The mixed vectors, in the type of the weights; mixed in that of the mixture."""
        return (mixture @ self.table.to(mixture.dtype)).to(self.table.dtype)
