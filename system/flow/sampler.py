"""Noise to tokens, guided: each guided block follows one Gaussian made of two (see `guidance`).

STARFlow guides the deep block alone; TARFlow every block. What guidance leads away from is the null
class, or the null class with attention at another temperature. The second needs no class to be
known: it guides an unconditional flow by itself.

Source: STARFlow, arXiv 2506.06276, section 3.3; TARFlow, arXiv 2412.06329, and its released code.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import replace

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor

from system.flow.decoding import Decode
from system.flow.decoding import jacobi
from system.flow.decoding import token_by_token
from system.flow.flow import Flow
from system.flow.guidance import guide
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import Sampler
from system.layers.steering import Steering

# What a batch is in while it goes through the block of a number, counted from the data side.
Turn = Callable[[int], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Tokens, and how often each block's transformer was asked for them, from the data side."""

    tokens: Float[Tensor, "B T D"]
    passes: tuple[int, ...]


def sample(
    flow: Flow, noise: Float[Tensor, "B T D"], label: Int[Tensor, "B"] | None, settings: Sampler
) -> Float[Tensor, "B T D"]:
    """Tokens drawn from the flow given each label, or no class: a function of `noise` alone.

    `noise` is standard normal; the temperature is a factor on it. Guidance 0 draws from the flow
    itself. Denoising is left to the caller, who knows the spread of the noise in the data. Raises
    BadInput where guidance has nothing to lead away from.
    """
    return draw(flow, noise, label, settings).tokens


def _at_once(block: int) -> AbstractContextManager[object]:
    return nullcontext()


@torch.no_grad()
def draw(
    flow: Flow,
    noise: Float[Tensor, "B T D"],
    label: Int[Tensor, "B"] | None,
    settings: Sampler,
    turn: Turn = _at_once,
) -> Drawn:
    """What `sample` gives, with the passes that it took. A block is entered on its `turn`."""
    tokens = flow.to_prior(settings.temperature * noise)
    rotary = flow.rotary(noise)
    follow = guide(settings)
    passes: list[int] = []
    ways = _ways(flow, label, tokens, settings)
    for index, (steering, away) in reversed(list(enumerate(ways))):
        both, led = (steering, None) if away is None else (steering.beside(away), follow)
        decode = decoding(settings, is_deep=index == len(ways) - 1)
        with turn(index):
            found = flow.blocks[index].decoded(tokens, both, rotary, led, decode)
        tokens = found.data
        passes.append(found.passes)
    return Drawn(tokens, tuple(reversed(passes)))


def decoding(settings: Sampler, *, is_deep: bool) -> Decode:
    """How a block's tokens are drawn: the one nearest the noise, or another."""
    if settings.decoding == "tokens" or (is_deep and settings.jacobi_blocks == "shallow"):
        return token_by_token
    return jacobi(settings.jacobi_chunk, settings.jacobi_tolerance)


def condition_of(flow: Flow, label: Int[Tensor, "B"] | None, count: int) -> Float[Tensor, "B V"]:
    """The mixture that each label is, or the null class `count` times where there is none."""
    return flow.null_condition(count) if label is None else flow.condition(label)


def _ways(
    flow: Flow, label: Int[Tensor, "B"] | None, like: Tensor, settings: Sampler
) -> list[tuple[Steering, Steering | None]]:
    """For each block, what steers it, and what guidance leads away from; None where it is not
    guided."""
    steered = flow.steer(condition_of(flow, label, len(like)))
    if settings.guidance == 0:
        return [(steering, None) for steering in steered]
    null = flow.steer(flow.null_condition(len(like)))
    if settings.guidance_against == "temperature":
        one = like.new_ones(len(like))
        steered = tuple(replace(each, sharpness=one) for each in steered)
        sharpness = one / settings.attention_temperature
        null = tuple(replace(each, sharpness=sharpness) for each in null)
    elif label is None or not flow.shape.is_conditional:
        drawn = "a flow without classes" if label is not None else "no class"
        raise BadInput(
            f"guidance={settings.guidance:g} with guidance_against=null_class for {drawn}: what is "
            "drawn is the null class itself. Expected guidance=0, or guidance_against=temperature "
            "with an attention_temperature"
        )
    deep = len(steered) - 1
    # Classes do not reach every block: where both halves are steered by nothing, they are equal.
    return [
        (steering, away if _is_guided(index == deep, away, settings) else None)
        for index, (steering, away) in enumerate(zip(steered, null, strict=True))
    ]


def _is_guided(is_deep: bool, away: Steering, settings: Sampler) -> bool:
    return (is_deep or settings.guidance_blocks == "all") and away.rows is not None
