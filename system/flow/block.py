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
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.flow.affine import Affine
from system.flow.affine import Guide
from system.flow.decoding import Decode
from system.flow.decoding import Decoded
from system.flow.decoding import token_by_token
from system.flow.ordering import Ordering
from system.flow.predictor import Predictor
from system.foundation.settings import flow as settings
from system.layers.cache import Span
from system.layers.cache import Standing
from system.layers.continuation import Continuation
from system.layers.embedding import Rotary
from system.layers.embedding import drawn_parameter
from system.layers.norm import RmsNorm
from system.layers.steering import Steering
from system.layers.transformer import Transformer

SOFTPLUS_OF_ONE = math.log(
    math.e - 1
)  # softplus of this is one: a raw scale of zero changes nothing


@dataclass(frozen=True, slots=True)
class BlockTrace:
    """One pass from data to noise, with what its layers said on the way (raster order)."""

    noise: Float[Tensor, "B T D"]
    log_det: Float[Tensor, "B"]  # nats
    features: dict[int, Float[Tensor, "B T E"]]  # after so many layers
    affine: Affine  # what was done to the tokens, in the block's own order


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
            self.start = drawn_parameter(token_width, spread=1.0)
        self.token_in = nn.Linear(token_width, shape.width)
        if shape.positions == "learned":
            self.positions = drawn_parameter(tokens, shape.width, spread=0.01)
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
        decode: Decode = token_by_token,
    ) -> Float[Tensor, "B T D"]:
        """Noise to data. See `decoded` for what it is told."""
        return self.decoded(noise, steering, rotary, guide, decode).data

    def decoded(
        self,
        noise: Float[Tensor, "B T D"],
        steering: Steering,
        rotary: Rotary | None,
        guide: Guide | None = None,
        decode: Decode = token_by_token,
    ) -> Decoded:
        """Noise to data, and how often the transformer was asked for it.

        With a `guide`, `steering` has two halves, each as many samples as `noise`: both are asked
        about the same tokens, and `guide` makes one answer of the two.
        """
        noise = self.ordering(noise)
        predict = self._predictor(noise, steering, rotary, guide)
        if self.start is not None:
            found = decode(predict, self._start_like(noise), noise)
            return replace(found, data=self.ordering(found.data))
        first = noise[:, :1]
        found = decode(predict, first, noise[:, 1:])
        return replace(found, data=self.ordering(torch.cat([first, found.data], dim=1)))

    def _predictor(
        self, noise: Tensor, steering: Steering, rotary: Rotary | None, guide: Guide | None
    ) -> Predictor:
        """This block made ready for one batch, the prefix read."""
        batch, tokens, _ = noise.shape
        rows = steering.rows or batch
        prefix = 0 if steering.prefix is None else steering.prefix.shape[1]
        steps = tokens - (self.start is None)
        reader = Continuation(
            self.transformer,
            steering,
            self._turn(rotary, prefix),
            rows=rows,
            tokens=steps + prefix,
        )
        if steering.prefix is not None:
            reader(steering.prefix, Span.at(0, prefix, noise.device))
        return Predictor(
            embed=self._embedder(steering, prefix),
            reader=reader,
            head=self._head(noise.dtype),
            guide=guide,
            halves=rows // batch,
            steps=steps,
            prefix=prefix,
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
        positions = None if self.positions is None else self.ordering(self.positions)
        hidden = self._embed(before, positions, steering)
        prefix = 0
        if steering.prefix is not None:
            prefix = steering.prefix.shape[1]
            hidden = torch.cat([steering.prefix, hidden], dim=1)
        stages = self.transformer(hidden, steering, self._turn(rotary, prefix), depth)
        return [stage[:, prefix:] for stage in stages]

    def _start_like(self, tokens: Tensor) -> Tensor:
        assert self.start is not None
        return self.start.to(tokens.dtype).expand(len(tokens), 1, -1)

    def _embedder(self, steering: Steering, prefix: int) -> Callable[[Tensor, Standing], Tensor]:
        """Tokens as they enter the transformer, wherever they stand."""
        if self.positions is None:
            return lambda tokens, standing: self._embed(tokens, None, steering)
        table = functional.pad(self.ordering(self.positions), (0, 0, prefix, 0))
        return lambda tokens, standing: self._embed(tokens, standing.of(table), steering)

    def _embed(self, tokens: Tensor, positions: Tensor | None, steering: Steering) -> Tensor:
        hidden = self.token_in(tokens.to(self.token_in.weight.dtype))
        if positions is not None:
            hidden = hidden + positions
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
        return self._head(dtype)(hidden)

    def _head(self, dtype: torch.dtype) -> Callable[[Tensor], Affine]:
        """What makes mean and spread of the transformer's output, in a type of numbers."""
        weight, bias = self.affine_out.weight.to(dtype), self.affine_out.bias.to(dtype)

        def head(hidden: Float[Tensor, "R t E"]) -> Affine:
            raw = functional.linear(self.norm_out(hidden.to(dtype)), weight, bias)
            if self.soft_clip:
                raw = self.soft_clip * torch.tanh(raw / self.soft_clip)
            if self.shifts_alone:
                return Affine(raw, torch.zeros_like(raw))
            log_scale, shift = raw.chunk(2, dim=-1)
            if self.scale == "softplus":
                log_scale = torch.log(functional.softplus(log_scale + SOFTPLUS_OF_ONE))
            return Affine(shift, log_scale)

        return head
