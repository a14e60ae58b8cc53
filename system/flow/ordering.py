"""The order in which a block meets the tokens: raster, or raster backwards.

Blocks alternate, so that what one block sees last the next sees first.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Shaped
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ordering:
    """A permutation of tokens that is its own inverse."""

    backwards: bool

    def __call__(self, tokens: Shaped[Tensor, "... T D"]) -> Shaped[Tensor, "... T D"]:
        """Raster order to this order, and back."""
        return tokens.flip(-2) if self.backwards else tokens


def alternating(blocks: int, raster: Literal["noise_side", "data_side"]) -> tuple[Ordering, ...]:
    """One ordering for each block, from the data side to the noise side; the block at the `raster`
    end goes in raster order: the one nearest the noise in STARFlow (arXiv 2506.06276, released
    code, "L2R"), the one nearest the data in TARFlow (arXiv 2412.06329, released code).
    """
    first = blocks - 1 if raster == "noise_side" else 0
    return tuple(Ordering(backwards=(block - first) % 2 == 1) for block in range(blocks))
