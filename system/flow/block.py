"""One affine autoregressive map: each token is shifted and scaled by what the ones before it say.

    noise_t = (data_t - shift_t) / scale_t,   (log scale_t, shift_t) = transformer(data_<t, class)

All tokens at once from data to noise; token by token back. The transformer computes in the type of
its weights; shift, scale and log-determinant are float32 (or float64, if the tokens are).

With a start token every token is transformed (STARFlow). Without one the first is kept as it is,
and the transformer's place t holds token t and speaks of token t + 1 (TARFlow).

Source: TARFlow, arXiv 2412.06329, equation 4; start token and soft clip as in STARFlow's code.
"""

import math
from collections.abc import Callable
from collections.abc import Set
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.flow.ordering import Ordering
from system.foundation.settings import flow as settings
from system.layers.attention import Cache
from system.layers.embedding import Rotary
from system.layers.norm import RmsNorm
from system.layers.steering import Steering
from system.layers.transformer import Transformer

SOFTPLUS_OF_ONE = math.log(
    math.e - 1
)  # softplus of this is one: a raw scale of zero changes nothing


@dataclass(frozen=True, slots=True)
class Affine:
    """What a block does to tokens: their conditional mean and the logarithm of their spread."""

    shift: Float[Tensor, "B T D"]
    log_scale: Float[Tensor, "B T D"]


@dataclass(frozen=True, slots=True)
class BlockTrace:
    """One pass from data to noise, with what its layers said on the way (raster order)."""

    noise: Float[Tensor, "B T D"]
    log_det: Float[Tensor, "B"]  # nats
    features: dict[int, Float[Tensor, "B T E"]]  # after so many layers
    affine: Affine  # what was done to the tokens, in the block's own order


# One answer of two halves of a batch, and how far through the tokens it is asked, in (0, 1].
Guide = Callable[[Affine, float], Affine]
# What may go through a block in place of its own `trace`.
Pass = Callable[["Block", Tensor, Steering, Rotary | None, Set[int]], BlockTrace]


class Block(nn.Module):
    """An invertible map of tokens with a triangular Jacobian."""

    def __init__(
        self,
        shape: settings.Flow,
        depth: int,
        *,
        tokens: int,
        token_width: int,
        ordering: Ordering,
    ) -> None:
        super().__init__()
        self.ordering = ordering
        self.scale = shape.scale
        self.soft_clip = shape.soft_clip
        self.shifts_alone = shape.affine == "shift"
        self.start = self.positions = None
        if shape.first == "start":
            self.start = nn.Parameter(torch.randn(token_width))
        self.token_in = nn.Linear(token_width, shape.width)
        if shape.positions == "learned":
            self.positions = nn.Parameter(0.01 * torch.randn(tokens, shape.width))
        self.transformer = Transformer(shape, depth)
        self.norm_out = RmsNorm(shape.width) if shape.norm_out == "rms" else nn.Identity()
        self.affine_out = nn.Linear(shape.width, token_width * (1 if self.shifts_alone else 2))
        nn.init.zeros_(self.affine_out.weight)
        nn.init.zeros_(self.affine_out.bias)

    def forward(
        self, data: Float[Tensor, "B T D"], steering: Steering, rotary: Rotary | None
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B"]]:
        """Data to noise, and the log-determinant in nats."""
        trace = self.trace(data, steering, rotary)
        return trace.noise, trace.log_det

    def trace(
        self,
        data: Float[Tensor, "B T D"],
        steering: Steering,
        rotary: Rotary | None,
        taps: Set[int] = frozenset(),
    ) -> BlockTrace:
        """`forward`, with the features after as many layers as each of `taps` says."""
        data = self.ordering(data)
        stages = self._read(data, steering, rotary)
        affine = self._affine_of_all(stages[-1], data.dtype)
        noise = (data - affine.shift) * torch.exp(-affine.log_scale)
        features = {tap: self.ordering(stages[tap]) for tap in taps}
        log_det = -affine.log_scale.sum(dim=(1, 2))
        return BlockTrace(self.ordering(noise), log_det, features, affine)

    def features(
        self,
        data: Float[Tensor, "B T D"],
        steering: Steering,
        rotary: Rotary | None,
        taps: Set[int],
    ) -> dict[int, Float[Tensor, "B T E"]]:
        """The features of `trace` alone: no layer behind the last of `taps` is computed."""
        stages = self._read(self.ordering(data), steering, rotary, max(taps))
        return {tap: self.ordering(stages[tap]) for tap in taps}

    def affine(
        self, data: Float[Tensor, "B T D"], steering: Steering, rotary: Rotary | None
    ) -> Affine:
        """Mean and spread of every token given the ones before it, all at once."""
        data = self.ordering(data)
        affine = self._affine_of_all(self._read(data, steering, rotary)[-1], data.dtype)
        return Affine(self.ordering(affine.shift), self.ordering(affine.log_scale))

    def inverse(
        self,
        noise: Float[Tensor, "B T D"],
        steering: Steering,
        rotary: Rotary | None,
        guide: Guide | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Noise to data, token by token.

        With a `guide`, `steering` has two halves, each as many samples as `noise`: both are asked
        about the same tokens, and `guide` makes one answer of the two.
        """
        noise = self.ordering(noise)
        batch, tokens, _ = noise.shape
        repeats = (steering.rows or batch) // batch
        kept = self.start is None
        data = noise.clone()
        before = data[:, :1] if kept else self._start_like(noise)
        ask = self._asker(steering, rotary, tokens)
        steps = tokens - kept
        for step in range(steps):
            affine = self._affine(ask(before.repeat(repeats, 1, 1), step), noise.dtype)
            if guide is not None:
                affine = guide(affine, (step + 1) / steps)
            here = step + kept
            before = noise[:, here : here + 1] * torch.exp(affine.log_scale) + affine.shift
            data[:, here] = before[:, 0]
        return self.ordering(data)

    def _asker(
        self, steering: Steering, rotary: Rotary | None, tokens: int
    ) -> Callable[[Tensor, int], Tensor]:
        """What the transformer says of one token after the other, all before it being cached."""
        prefix = 0 if steering.prefix is None else steering.prefix.shape[1]
        turned = self._turn(rotary, prefix)
        caches: list[Cache] = []

        def put(hidden: Tensor, place: int) -> Tensor:
            if not caches:
                caches.extend(self.transformer.empty_caches(hidden, tokens + prefix))
            here = None if turned is None else turned[place : place + 1]
            return self.transformer.step(hidden, steering, here, caches, place)

        for place in range(prefix):
            assert steering.prefix is not None
            put(steering.prefix[:, place : place + 1], place)
        return lambda token, step: put(
            self._embed(token, slice(step, step + 1), steering), step + prefix
        )

    def _read(
        self,
        data: Float[Tensor, "B T D"],
        steering: Steering,
        rotary: Rotary | None,
        depth: int | None = None,
    ) -> list[Float[Tensor, "B T E"]]:
        """The hidden tokens that enter the transformer, and those that leave each layer, or each
        of the first `depth`."""
        before = data
        if self.start is not None:
            before = torch.cat([self._start_like(data), data[:, :-1]], dim=1)
        hidden = self._embed(before, slice(None), steering)
        prefix = 0
        if steering.prefix is not None:
            prefix = steering.prefix.shape[1]
            hidden = torch.cat([steering.prefix, hidden], dim=1)
        stages = self.transformer(hidden, steering, self._turn(rotary, prefix), depth)
        return [stage[:, prefix:] for stage in stages]

    def _start_like(self, tokens: Tensor) -> Tensor:
        assert self.start is not None
        return self.start.to(tokens.dtype).expand(len(tokens), 1, -1)

    def _embed(self, tokens: Tensor, places: slice, steering: Steering) -> Tensor:
        hidden = self.token_in(tokens.to(self.token_in.weight.dtype))
        if self.positions is not None:
            hidden = hidden + self.ordering(self.positions)[places]
        return hidden if steering.bias is None else hidden + steering.bias[:, None]

    def _turn(self, rotary: Rotary | None, prefix: int) -> Rotary | None:
        """Positions in this block's order; a prefix stands where the first token does."""
        if rotary is None:
            return None
        return Rotary(self.ordering(rotary.cos), self.ordering(rotary.sin)).before(prefix)

    def _affine_of_all(self, hidden: Float[Tensor, "B T E"], dtype: torch.dtype) -> Affine:
        """Mean and spread of every token; one that is kept has mean zero and spread one."""
        if self.start is not None:
            return self._affine(hidden, dtype)
        affine = self._affine(hidden[:, :-1], dtype)
        kept = (0, 0, 1, 0)
        return Affine(functional.pad(affine.shift, kept), functional.pad(affine.log_scale, kept))

    def _affine(self, hidden: Float[Tensor, "R t E"], dtype: torch.dtype) -> Affine:
        """Mean and spread of the tokens that `hidden` speaks of."""
        weight, bias = self.affine_out.weight.to(dtype), self.affine_out.bias.to(dtype)
        raw = functional.linear(self.norm_out(hidden.to(dtype)), weight, bias)
        if self.soft_clip:
            raw = self.soft_clip * torch.tanh(raw / self.soft_clip)
        if self.shifts_alone:
            return Affine(raw, torch.zeros_like(raw))
        log_scale, shift = raw.chunk(2, dim=-1)
        if self.scale == "softplus":
            log_scale = torch.log(functional.softplus(log_scale + SOFTPLUS_OF_ONE))
        return Affine(shift, log_scale)
