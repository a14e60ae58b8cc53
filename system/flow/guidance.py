"""Classifier-free guidance for affine flows: one Gaussian out of a conditional and a null one.

For each token the block holds two Gaussians. Guidance with weight w draws from the one that is
proportional to p_conditional^(1+w) / p_null^w, where the ratio of variances is clipped at one so
that this stays a Gaussian (an unclipped ratio above (1+w)/w would have no finite integral).

Source: STARFlow, arXiv 2506.06276, proposition 2, and its released code.
"""

import torch

from system.flow.block import Affine


def starflow(weight: float, both: Affine, progress: float) -> Affine:
    """The guided Gaussian; `both` has the conditional half first, then the null half.

    At weight 0 it is the conditional one. Its spread never exceeds the conditional one's.
    """
    shift, null_shift = both.shift.chunk(2)
    log_scale, null_log_scale = both.log_scale.chunk(2)
    ratio = torch.exp(2 * (log_scale - null_log_scale)).clamp(max=1)
    precision = 1 + weight - weight * ratio  # over the conditional one's; at least one
    return Affine(
        shift=shift + weight * ratio / precision * (shift - null_shift),
        log_scale=log_scale - 0.5 * torch.log(precision),
    )
