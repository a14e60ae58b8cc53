"""Images with their classes, in memory."""

from dataclasses import dataclass

from jaxtyping import Int
from jaxtyping import UInt8
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Labelled:
    """Real images with their classes."""

    image: UInt8[Tensor, "N C H W"]
    label: Int[Tensor, "N"]
