"""The reverse pass as one would write it on a blackboard: token after token, block after block.

What a block has generated so far is its context; the context's history is cut, that of the token
itself is kept. The pseudo-reverse in one causal pass must have the same gradients.
"""

import torch
from torch import Tensor

from system.flow.flow import Flow


def reverse_with_detached_context(flow: Flow, noise: Tensor, condition: Tensor) -> list[Tensor]:
    """The input of each block, from the data side, generated from `noise`."""
    inputs: list[Tensor] = []
    steerings, rotary = flow.steer(condition), flow.rotary(noise)
    for block, steering in reversed(list(zip(flow.blocks, steerings, strict=True))):
        turned = block.ordering(noise)
        tokens: list[Tensor] = []
        for place in range(noise.shape[1]):
            context = torch.full_like(noise, torch.nan)  # no token behind may matter
            for earlier, token in enumerate(tokens):
                context[:, earlier] = token.detach()
            context[:, place:] = 0
            affine = block.affine(block.ordering(context), steering, rotary)
            scale = block.ordering(affine.log_scale)[:, place].exp()
            tokens.append(turned[:, place] * scale + block.ordering(affine.shift)[:, place])
        noise = block.ordering(torch.stack(tokens, dim=1))
        inputs.insert(0, noise)
    return inputs
