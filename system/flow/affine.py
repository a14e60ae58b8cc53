"""What a block does to tokens, as its transformer says it."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Affine:
    """What a block does to tokens: their conditional mean and the logarithm of their spread."""

    shift: Float[Tensor, "B T D"]
    log_scale: Float[Tensor, "B T D"]


# One answer of two halves of a batch, and how far through the tokens it is asked, in (0, 1]: a
# number for all tokens asked about, or one for each, "t 1".
Guide = Callable[[Affine, float | Tensor], Affine]
