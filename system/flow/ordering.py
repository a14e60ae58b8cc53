"""The order in which a block meets the tokens: raster, or raster backwards.

Blocks alternate, so that what one block sees last the next sees first. The block nearest the noise
goes in raster order, as in STARFlow (arXiv 2506.06276, released code, its "L2R" order).
"""

from dataclasses import dataclass

from jaxtyping import Shaped
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ordering:
    """A permutation of tokens that is its own inverse."""

    backwards: bool

    def __call__(self, tokens: Shaped[Tensor, "... T D"]) -> Shaped[Tensor, "... T D"]:
        """Raster order to this order, and back."""
        return tokens.flip(-2) if self.backwards else tokens


def alternating(blocks: int) -> tuple[Ordering, ...]:
    """One ordering for each block, from the data side to the noise side; the last one raster."""
    return tuple(Ordering(backwards=(blocks - 1 - block) % 2 == 1) for block in range(blocks))
