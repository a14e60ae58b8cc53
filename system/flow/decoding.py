"""Ways back from noise to data through one block.

    data_s = noise_s exp(log scale_s) + shift_s,   (log scale_s, shift_s) a function of data_<s

`token_by_token` follows that. `jacobi` takes a chunk of tokens at a time as the fixed point of the
same equations: all of the chunk are asked about at once, what they say makes new tokens, and these
are asked about again, until none changes. After p passes the first p tokens of a chunk no longer
depend on the guess that it began with, so a chunk never takes more passes than it has tokens, and
then it is what drawing token by token gives (up to the rounding of products of another shape).
Keys and values of finished chunks stay cached: Gauss-Seidel over chunks, Jacobi inside of them.

Source: Jacobi decoding of autoregressive flows, arXiv 2505.12849 (GS-Jacobi) and 2505.24791.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from system.flow.affine import Affine
from system.flow.predictor import Predictor
from system.flow.replay import replayed
from system.layers.cache import Span


@dataclass(frozen=True, slots=True)
class Decoded:
    """The tokens of one block's data, and how often its transformer was asked for them."""

    data: Float[Tensor, "B S D"]
    passes: int


# What draws the tokens of a block: from what it is told first, and the noise of the others.
Decode = Callable[[Predictor, Float[Tensor, "B 1 D"], Float[Tensor, "B S D"]], Decoded]


def token_by_token(
    predict: Predictor, first: Float[Tensor, "B 1 D"], noise: Float[Tensor, "B S D"]
) -> Decoded:
    """Each token once those before it are known; on CUDA as one graph that is replayed."""
    steps = predict.steps
    if noise.is_cuda and not torch.is_grad_enabled():
        return Decoded(replayed(predict, first, noise), steps)
    data, before = torch.empty_like(noise), first
    for step in range(steps):
        here = slice(step, step + 1)
        span = Span.at(predict.prefix + step, 1, noise.device)
        before = drawn(noise[:, here], predict(before, span, (step + 1) / steps))
        data[:, here] = before
    return Decoded(data, steps)


def jacobi(chunk: int, tolerance: float) -> Decode:
    """Chunks of so many tokens, each asked about anew until no number of what its tokens are asked
    by changes by more than `tolerance`; 0: not at all."""

    def decode(
        predict: Predictor, first: Float[Tensor, "B 1 D"], noise: Float[Tensor, "B S D"]
    ) -> Decoded:
        parts, before, passes = [], first, 0
        for begin in range(0, predict.steps, chunk):
            part, took = _settled(
                predict, before, noise[:, begin : begin + chunk], begin, tolerance
            )
            parts.append(part)
            before, passes = part[:, -1:], passes + took
        return Decoded(torch.cat(parts, dim=1), passes)

    return decode


def _settled(
    predict: Predictor, before: Tensor, noise: Tensor, begin: int, tolerance: float
) -> tuple[Tensor, int]:
    """A chunk's tokens, and how many passes they took.

    A sample that has settled is asked about the same tokens from then on, so that it does not
    depend on the others of its batch.
    """
    count = noise.shape[1]
    span = Span.at(predict.prefix + begin, count, noise.device)
    steps = torch.arange(begin + 1, begin + count + 1, dtype=noise.dtype, device=noise.device)
    progress = steps[:, None] / predict.steps
    asked = torch.cat([before, noise[:, :-1]], dim=1)
    for number in range(1, count):
        data = drawn(noise, predict(asked, span, progress))
        wanted = torch.cat([before, data[:, :-1]], dim=1)
        settled = (wanted - asked).abs().amax(dim=(1, 2), keepdim=True) <= tolerance
        if settled.all():
            return data, number
        asked = torch.where(settled, asked, wanted)
    return drawn(noise, predict(asked, span, progress)), count


def drawn(noise: Float[Tensor, "B t D"], affine: Affine) -> Float[Tensor, "B t D"]:
    """The tokens that this noise is."""
    return noise * torch.exp(affine.log_scale) + affine.shift
