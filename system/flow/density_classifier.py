"""Classify latents with the density that the flow has learned: no training, no labels seen.

`bayes_logits` asks for the likelihood under every class (exact, one pass a class).
`gradient_logits` asks once: it mixes the classes with a softmax of logits at zero and looks which
logit the likelihood would rise with. That is the first-order form of the same classifier around
the mean of the classes.

Source: training-free classification of R-REPA, arXiv 2511.22345.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from system.flow.flow import Flow


@torch.no_grad()
def bayes_logits(flow: Flow, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B classes"]:
    """log p(tokens | class) in nats for every class."""
    per_class = [
        flow.log_prob(tokens, flow.condition(tokens.new_full((len(tokens),), c, dtype=torch.long)))
        for c in range(flow.classes)
    ]
    return torch.stack(per_class, dim=1)


def gradient_logits(flow: Flow, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B classes"]:
    """The derivative of log p(tokens | softmax(logits) mix of classes) at logits zero, in nats."""
    with torch.enable_grad():
        logits = tokens.new_zeros(len(tokens), flow.classes, requires_grad=True)
        log_prob = flow.log_prob(tokens, flow.mixture(logits)).sum()
        (gradient,) = torch.autograd.grad(log_prob, logits)
    return gradient
