"""Classify latents with the density that the flow has learned: no training, no labels seen.

`bayes_logits` asks for the likelihood under every class: l_k = log p(x | k), one pass a class; with
a uniform prior they are the Bayes classifier's logits.

`gradient_logits` asks once. A class is a mixture pi over classes, and the mixture a softmax of
logits at zero; the answer is which logit the likelihood would rise with,

    g_k = d/d lambda_k  log p(x | softmax(lambda)) at 0  =  (d_k - mean_j d_j) / K,
    d_j = d/d pi_j  log p(x | pi),

so K g_k is log p(x | k) - log p(x | even mixture) to first order. Where the null class is the even
mixture (added vectors, adaptive norms) that is the null class; where it is a class of its own (a
prefix token) it is left out, and the mixture is over the K classes alone.

Source: training-free classification of R-REPA, arXiv 2511.22345: logits at zero, the embedding
softmax(lambda)^T E, one backward pass, the largest of d/d lambda.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from system.flow.flow import Flow
from system.foundation.errors import BadInput


@torch.no_grad()
def bayes_logits(flow: Flow, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B classes"]:
    """log p(tokens | class) in nats for every class. Raises BadInput for a flow without classes."""
    _check_classes(flow)
    per_class = [
        flow.log_prob(tokens, flow.condition(tokens.new_full((len(tokens),), c, dtype=torch.long)))
        for c in range(flow.classes)
    ]
    return torch.stack(per_class, dim=1)


def gradient_logits(flow: Flow, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B classes"]:
    """The derivative of log p(tokens | softmax(logits) mix of classes) at logits zero, in nats.

    Raises BadInput for a flow without classes.
    """
    _check_classes(flow)
    with torch.enable_grad():
        logits = tokens.new_zeros(len(tokens), flow.classes, requires_grad=True)
        log_prob = flow.log_prob(tokens, flow.mixture(logits)).sum()
        (gradient,) = torch.autograd.grad(log_prob, logits)
    return gradient


def _check_classes(flow: Flow) -> None:
    if not flow.shape.is_conditional:
        raise BadInput(
            "found flow.condition.kind=none; expected a flow that is told the class: without one, "
            "its density is the same for every class"
        )
