"""Score-based denoising: one step along the score takes away the noise that the flow has learned.

A flow trained on data with Gaussian noise of a known spread draws noisy data. By Tweedie's formula

    E[clean | noisy] = noisy + spread^2 * grad log p(noisy)

and the score is the gradient of the flow's exact log-density, given the class that was drawn for.
Guidance has no part in it. Noise of another shape (uniform) has no such formula.

Source: Efron 2011, "Tweedie's formula and selection bias"; TARFlow, arXiv 2412.06329, and its
released code (the gradient of a mean, times the numbers in a batch), which leaves the tracked
variance of the prior out of the score of flows of shifts: here it is the density's own.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def denoise(
    noisy: Float[Tensor, "B ..."],
    log_prob: Callable[[Tensor], Float[Tensor, "B"]],
    *,
    spread: float,
    step: float = 1.0,
) -> Float[Tensor, "B ..."]:
    """`noisy` after `step` times Tweedie's step; at 1 the mean of what can have been there.

    `log_prob` gives each sample's log-density in nats, and `spread` is the standard deviation of
    the noise in the units of `noisy`. No graph is kept.
    """
    with torch.enable_grad():
        at = noisy.detach().requires_grad_()
        (score,) = torch.autograd.grad(log_prob(at).sum(), at)
    return noisy.detach() + step * spread**2 * score
