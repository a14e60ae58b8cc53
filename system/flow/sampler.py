"""Noise to tokens, guided: the deep block follows the guide, the shallow ones the class alone.

Source: STARFlow, arXiv 2506.06276, section 3.3: guidance acts in the deep block.
"""

from functools import partial

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor

from system.flow.flow import Flow
from system.flow.guidance import starflow


@torch.no_grad()
def sample(
    flow: Flow, noise: Float[Tensor, "B T D"], label: Int[Tensor, "B"], guidance: float
) -> Float[Tensor, "B T D"]:
    """Tokens drawn from the flow given each label: a function of `noise` alone.

    `guidance` 0 draws from the conditional flow itself. A temperature is a factor on `noise`.
    """
    assert guidance >= 0, f"guidance {guidance} must not be negative"
    condition = flow.condition(label)
    tokens = flow.to_prior(noise)
    if guidance == 0:
        return flow.inverse(tokens, condition)
    rotary = flow.rotary(noise)
    steered = flow.steer(condition)
    null = flow.steer(flow.null_condition(len(label)))
    *shallow, deep = zip(flow.blocks, steered, strict=True)
    both = steered[-1].beside(null[-1])
    tokens = deep[0].inverse(tokens, both, rotary, guide=partial(starflow, guidance))
    for block, steering in reversed(shallow):
        tokens = block.inverse(tokens, steering, rotary)
    return tokens
