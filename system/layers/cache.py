"""Keys and values of the tokens so far, and where in them the next ones stand.

A `Span` is tokens that are asked about at once, a `Place` one token whose number lies on the
device: its shapes are the same for every token, so that a step with it can be captured once as a
CUDA graph and replayed. Both put what is new into the memory and say what is to be seen of it.
"""

from dataclasses import dataclass
from typing import Protocol
from typing import runtime_checkable

import torch
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor


@dataclass(slots=True)
class Cache:
    """Keys and values of one layer, in memory set aside for all tokens: zero where none is yet."""

    key: Float[Tensor, "B N T K"]
    value: Float[Tensor, "B N T K"]

    @classmethod
    def empty(cls, batch: int, heads: int, tokens: int, like: Tensor) -> "Cache":
        """Room for `tokens` tokens of `like`'s width, type and device."""
        shape = (batch, heads, tokens, like.shape[-1] // heads)
        return cls(like.new_zeros(shape), like.new_zeros(shape))


@runtime_checkable
class Standing(Protocol):
    """Where the tokens that are asked about stand among all."""

    @property
    def mask(self) -> Bool[Tensor, "t S"] | None:
        """Which of the seen tokens each one may see; None where it is all of them."""

    def of(self, table: Tensor) -> Tensor:
        """The rows of a table of all places that are theirs."""

    def keep(self, memory: Float[Tensor, "B N T K"], fresh: Tensor) -> Float[Tensor, "B N S K"]:
        """Put what is new into the memory; what there is to be seen of it."""


@dataclass(frozen=True, slots=True)
class Span:
    """`count` tokens from place `first` on: each sees those before it and itself."""

    first: int
    count: int
    mask: Bool[Tensor, "t S"] | None

    @classmethod
    def at(cls, first: int, count: int, device: torch.device) -> "Span":
        """The span with its mask, whose diagonal ends in the lower right: with fewer queries than
        keys, `is_causal` would let it begin in the upper left."""
        if count == 1:
            return cls(first, count, None)  # one token may see every one so far
        seen = torch.ones(count, first + count, dtype=torch.bool, device=device)
        return cls(first, count, seen.tril(diagonal=first))

    def of(self, table: Tensor) -> Tensor:
        """The rows of a table of all places that are these tokens'."""
        return table[self.first : self.first + self.count]

    def keep(self, memory: Float[Tensor, "B N T K"], fresh: Tensor) -> Float[Tensor, "B N S K"]:
        """Put what is new into the memory; all so far, without a copy."""
        end = self.first + self.count
        memory[:, :, self.first : end] = fresh
        return memory[:, :, :end]


@dataclass(frozen=True, slots=True)
class Place:
    """One token, whose place is a number on the device."""

    place: Int[Tensor, "1"]
    mask: Bool[Tensor, "1 T"]

    @classmethod
    def at(cls, place: Int[Tensor, "1"], tokens: int) -> "Place":
        """The place among `tokens`; later ones are hidden by the mask."""
        every = torch.arange(tokens, device=place.device)
        return cls(place, (every <= place)[None])

    def of(self, table: Tensor) -> Tensor:
        """The row of a table of all places that is this token's."""
        return table.index_select(0, self.place)

    def keep(self, memory: Float[Tensor, "B N T K"], fresh: Tensor) -> Float[Tensor, "B N T K"]:
        """Put what is new into the memory; the whole of it, whatever is there."""
        return memory.index_copy_(2, self.place, fresh)
