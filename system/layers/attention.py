"""Causal self-attention, with an explicit cache for drawing."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.layers.cache import Cache
from system.layers.cache import Standing
from system.layers.embedding import Rotary


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool, mask: Tensor | None = None
) -> Tensor:
    """Fused softmax attention. `mask` is true where a query may see a key; None: as `causal` says.

    In float32 on the CPU: there the backward pass of the fused kernel takes thirty times as long
    in bf16 (measured, torch 2.14), and more than all the matrix products of a small flow.
    """
    kind = query.dtype
    if query.device.type == "cpu" and kind == torch.bfloat16:
        query, key, value = query.float(), key.float(), value.float()
    mixed = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal
    )
    return mixed.to(kind)


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

    def extend(
        self,
        hidden: Float[Tensor, "B t E"],
        rotary: Rotary | None,
        sharpness: Float[Tensor, "B"] | None = None,
        *,
        cache: Cache,
        standing: Standing,
    ) -> Float[Tensor, "B t E"]:
        """The tokens that stand there, given the cached ones before them. Adds their keys and
        values. `rotary` is theirs alone."""
        query, key, value = self._project(hidden, rotary, sharpness)
        seen = standing.keep(cache.key, key), standing.keep(cache.value, value)
        mixed = attend(query, *seen, causal=False, mask=standing.mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

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
