"""How far projected features agree with the teacher's tokens.

    loss = - mean over places, samples and tokens of cos(projected, teacher's)

Source: REPA, arXiv 2410.06940, equation 8; R-REPA, arXiv 2511.22345, its alignment loss.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def alignment_loss(
    projected: tuple[Float[Tensor, "B T F"], ...], tokens: Float[Tensor, "B T F"]
) -> Float[Tensor, ""]:
    """Minus the mean cosine, between -1 and 1, computed in float32 (float64 stays)."""
    return -torch.stack([_cosine(each, tokens) for each in projected]).mean()


def _cosine(one: Float[Tensor, "B T F"], other: Float[Tensor, "B T F"]) -> Float[Tensor, ""]:
    wide = torch.promote_types(one.dtype, torch.float32)
    return functional.cosine_similarity(one.to(wide), other.to(wide), dim=-1).mean()
