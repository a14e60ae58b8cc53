"""One affine autoregressive map: each token is shifted and scaled by what the ones before it say.

    noise_t = (data_t - shift_t) / scale_t,   (log scale_t, shift_t) = transformer(data_<t, class)

All tokens at once from data to noise; token by token back. The transformer computes in the type of
its weights; shift, scale and log-determinant are float32 (or float64, if the tokens are).

Source: TARFlow, arXiv 2412.06329, equation 4; start token and soft clip as in STARFlow's code.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.flow.ordering import Ordering
from system.foundation.settings import flow as settings
from system.layers.embedding import Rotary
from system.layers.transformer import Transformer

SOFTPLUS_OF_ONE = math.log(
    math.e - 1
)  # softplus of this is one: a raw scale of zero changes nothing


@dataclass(frozen=True, slots=True)
class Affine:
    """What a block does to tokens: their conditional mean and the logarithm of their spread."""

    shift: Float[Tensor, "B T D"]
    log_scale: Float[Tensor, "B T D"]


Guide = Callable[[Affine], Affine]


class Block(nn.Module):
    """An invertible map of tokens with a triangular Jacobian."""

    def __init__(
        self, shape: settings.Flow, depth: int, token_width: int, ordering: Ordering
    ) -> None:
        super().__init__()
        self.ordering = ordering
        self.scale = shape.scale
        self.soft_clip = shape.soft_clip
        self.start = nn.Parameter(torch.randn(token_width))
        self.token_in = nn.Linear(token_width, shape.width)
        self.transformer = Transformer(
            shape.width, depth, shape.head_width, recompute=shape.checkpoint_activations
        )
        self.norm_out = nn.RMSNorm(shape.width, eps=1e-6)
        self.affine_out = nn.Linear(shape.width, 2 * token_width)
        nn.init.zeros_(self.affine_out.weight)
        nn.init.zeros_(self.affine_out.bias)

    def forward(
        self, data: Float[Tensor, "B T D"], condition: Float[Tensor, "B E"], rotary: Rotary
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B"]]:
        """Data to noise, and the log-determinant in nats."""
        data = self.ordering(data)
        before = torch.cat([self._start_like(data), data[:, :-1]], dim=1)
        hidden = self.transformer(self._embed(before), condition, self._turn(rotary))
        affine = self._affine(hidden, data.dtype)
        noise = (data - affine.shift) * torch.exp(-affine.log_scale)
        return self.ordering(noise), -affine.log_scale.sum(dim=(1, 2))

    def inverse(
        self,
        noise: Float[Tensor, "B T D"],
        condition: Float[Tensor, "R E"],
        rotary: Rotary,
        guide: Guide | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Noise to data, token by token.

        With a `guide`, `condition` has the conditional and the null class one after the other
        (R = 2B): both are asked about the same tokens, and `guide` makes one answer of the two.
        """
        noise, rotary = self.ordering(noise), self._turn(rotary)
        repeats = len(condition) // len(noise)
        before = self._start_like(noise)
        data = torch.empty_like(noise)
        caches = None
        for place in range(noise.shape[1]):
            hidden = self._embed(before).repeat(repeats, 1, 1)
            caches = caches or self.transformer.empty_caches(hidden, noise.shape[1])
            here = rotary[place : place + 1]
            hidden = self.transformer.step(hidden, condition, here, caches, place)
            affine = self._affine(hidden, noise.dtype)
            if guide is not None:
                affine = guide(affine)
            before = noise[:, place : place + 1] * torch.exp(affine.log_scale) + affine.shift
            data[:, place] = before[:, 0]
        return self.ordering(data)

    def _start_like(self, tokens: Tensor) -> Tensor:
        return self.start.to(tokens.dtype).expand(len(tokens), 1, -1)

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.token_in(tokens.to(self.token_in.weight.dtype))

    def _turn(self, rotary: Rotary) -> Rotary:
        """Positions in this block's order: each place has that of the token it predicts."""
        return Rotary(self.ordering(rotary.cos), self.ordering(rotary.sin))

    def _affine(self, hidden: Float[Tensor, "R t E"], dtype: torch.dtype) -> Affine:
        weight, bias = self.affine_out.weight.to(dtype), self.affine_out.bias.to(dtype)
        raw = functional.linear(self.norm_out(hidden).to(dtype), weight, bias)
        if self.soft_clip:
            raw = self.soft_clip * torch.tanh(raw / self.soft_clip)
        log_scale, shift = raw.chunk(2, dim=-1)
        if self.scale == "softplus":
            log_scale = torch.log(functional.softplus(log_scale + SOFTPLUS_OF_ONE))
        return Affine(shift, log_scale)
