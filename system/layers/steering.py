"""What a class does to the layers of one block; every part that is None changes nothing."""

from dataclasses import dataclass
from dataclasses import fields

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Steering:
    """A class, ready to be used by a block."""

    norm: Float[Tensor, "B E"] | None = None  # the vector that adaptive norms are made from
    bias: Float[Tensor, "B E"] | None = None  # added to every embedded token
    prefix: Float[Tensor, "B P E"] | None = None  # tokens that come before the others
    sharpness: Float[Tensor, "B"] | None = None  # factor on attention's logits: 1 / temperature

    @property
    def rows(self) -> int | None:
        """Samples that this steers, or None where it steers nothing."""
        parts = [getattr(self, field.name) for field in fields(self)]
        return next((len(part) for part in parts if part is not None), None)

    def beside(self, other: "Steering") -> "Steering":
        """One batch of two: this one's samples, then the other's."""
        return Steering(
            *(
                None if mine is None else torch.cat([mine, theirs])
                for mine, theirs in (
                    (getattr(self, field.name), getattr(other, field.name))
                    for field in fields(self)
                )
            )
        )
