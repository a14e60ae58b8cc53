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
    if guidance == 0:
        return flow.inverse(noise, condition)
    null = flow.condition(label, torch.ones_like(label, dtype=torch.bool))
    rotary = flow.rotary(noise.device)
    *shallow, deep = flow.blocks
    both = torch.cat([condition, null])
    tokens = deep.inverse(noise, both, rotary, guide=partial(starflow, guidance))
    for block in reversed(shallow):
        tokens = block.inverse(tokens, condition, rotary)
    return tokens
