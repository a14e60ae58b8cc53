"""A linear probe by logistic regression, its penalty chosen on training data.

Features are brought to mean 0 and spread 1 by the training images' own (a batch norm without affine
map); then weights and biases minimise

    mean_i -log softmax(W f_i + b)[label_i]  +  penalty / 2 |W|^2

by L-BFGS in float64, from zero. The problem is convex, so that nothing depends on a learning rate,
an order or a seed. Penalties go from strong to weak, each from the last one's answer; of penalties
that do equally well the strongest is taken.

Source: linear probing with a batch norm without affine map, MAE, arXiv 2111.06377, appendix A.1;
logistic regression by L-BFGS with the penalty swept on training data, CLIP, arXiv 2103.00020.
"""

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from system.evaluation.linear_probe import LinearProbe
from system.evaluation.linear_probe import choose
from system.evaluation.probe_classifiers import LogisticRegression

ITERATIONS = 300


def regress(
    features: Float[Tensor, "N F"],
    label: Int[Tensor, "N"],
    penalty: float,
    start: LinearProbe,
) -> LinearProbe:
    """The probe that fits these best under the penalty, looked for from another."""
    scaled = start.scaled(features)
    with torch.enable_grad():
        weight = start.weight.clone().requires_grad_()
        bias = start.bias.clone().requires_grad_()
        search = torch.optim.LBFGS(
            [weight, bias],
            max_iter=ITERATIONS,
            history_size=20,
            tolerance_grad=1e-7,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            search.zero_grad()
            fit = functional.cross_entropy(scaled @ weight.T + bias, label)
            total = fit + 0.5 * penalty * weight.square().sum()
            total.backward()
            return total

        search.step(loss)
    chosen = {"penalty": penalty}
    return LinearProbe(start.centre, start.width, weight.detach(), bias.detach(), chosen)


def regression_probe(
    features: Float[Tensor, "N F"],
    label: Int[Tensor, "N"],
    *,
    classes: int,
    seed: int,
    way: LogisticRegression,
) -> LinearProbe:
    """The probe of these training features; `seed` says which of them the penalty is chosen on."""
    probe, _ = choose(
        regress,
        way.penalties,
        features,
        label,
        classes=classes,
        held_back=way.held_back,
        seed=seed,
    )
    return probe
