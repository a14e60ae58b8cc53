"""Causal self-attention, with an explicit cache for drawing token by token."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.layers.embedding import Rotary


@dataclass(slots=True)
class Cache:
    """Keys and values of the tokens so far, in memory set aside for all of them."""

    key: Float[Tensor, "B N T K"]
    value: Float[Tensor, "B N T K"]

    @classmethod
    def empty(cls, batch: int, heads: int, tokens: int, like: Tensor) -> "Cache":
        """Room for `tokens` tokens of `like`'s width, type and device."""
        shape = (batch, heads, tokens, like.shape[-1] // heads)
        return cls(like.new_empty(shape), like.new_empty(shape))


def attend(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> Tensor:
    """Fused softmax attention.

    In float32 on the CPU: there the backward pass of the fused kernel takes thirty times as long
    in bf16 (measured, torch 2.14), and more than all the matrix products of a small flow.
    """
    kind = query.dtype
    if query.device.type == "cpu" and kind == torch.bfloat16:
        query, key, value = query.float(), key.float(), value.float()
    return functional.scaled_dot_product_attention(query, key, value, is_causal=causal).to(kind)


class CausalAttention(nn.Module):
    """Multi-head attention in which a token sees itself and the tokens before it."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.heads = width // head_width
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        hidden: Float[Tensor, "B T E"],
        rotary: Rotary | None,
        sharpness: Float[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B T E"]:
        """All tokens at once. `sharpness` is a factor on the logits: one over a temperature."""
        query, key, value = self._project(hidden, rotary, sharpness)
        mixed = attend(query, key, value, causal=True)
        return self.out(rearrange(mixed, "b n t k -> b t (n k)"))

    def step(
        self,
        hidden: Float[Tensor, "B 1 E"],
        rotary: Rotary | None,
        sharpness: Float[Tensor, "B"] | None = None,
        *,
        cache: Cache,
        place: int,
    ) -> Float[Tensor, "B 1 E"]:
        """The token at `place`, given the cached ones before it. Adds its key and value."""
        query, key, value = self._project(hidden, rotary, sharpness)
        cache.key[:, :, place] = key[:, :, 0]
        cache.value[:, :, place] = value[:, :, 0]
        # One query that may see every cached token: no mask (is_causal would align it top-left).
        seen = slice(0, place + 1)
        mixed = attend(query, cache.key[:, :, seen], cache.value[:, :, seen], causal=False)
        return self.out(rearrange(mixed, "b n t k -> b t (n k)"))

    def _project(
        self, hidden: Tensor, rotary: Rotary | None, sharpness: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = rearrange(
            self.qkv(hidden), "b t (three n k) -> three b n t k", three=3, n=self.heads
        )
        if sharpness is not None:
            query = query * sharpness[:, None, None, None].to(query.dtype)
        if rotary is None:
            return query, key, value
        return rotary.turn(query), rotary.turn(key), value
