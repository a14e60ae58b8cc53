"""A linear classifier on frozen features: logistic regression, its penalty chosen on training data.

Features are brought to mean 0 and spread 1 by the training images' own (a batch norm without affine
map); then weights and biases minimise

    mean_i -log softmax(W f_i + b)[label_i]  +  penalty / 2 |W|^2

by L-BFGS in float64, from zero. The problem is convex, so that nothing depends on a learning rate,
an order or a seed. Of a path of penalties, from strong to weak and each from the last one's answer,
that is taken which does best on a fifth of the training images held back; of equals the strongest.
Then all training images are fitted with it. The images that are measured have no part in any of it.

Source: linear probing with a batch norm without affine map, MAE, arXiv 2111.06377, appendix A.1;
logistic regression by L-BFGS with the penalty swept on training data, CLIP, arXiv 2103.00020.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Float64
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from system.evaluation.scores.accuracy import accuracy
from system.foundation import streams

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
HELD_BACK = 0.2
ITERATIONS = 300
EPS = 1e-6  # MAE's, under the root of the variance


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A fitted classifier."""

    centre: Float64[Tensor, "F"]
    width: Float64[Tensor, "F"]
    weight: Float64[Tensor, "classes F"]
    bias: Float64[Tensor, "classes"]
    penalty: float

    def logits(self, features: Float[Tensor, "N F"]) -> Float64[Tensor, "N classes"]:
        """What it says of features."""
        return self._scaled(features) @ self.weight.T + self.bias

    def _scaled(self, features: Tensor) -> Float64[Tensor, "N F"]:
        return (features.double() - self.centre) / self.width

    @classmethod
    def blank(cls, features: Float[Tensor, "N F"], classes: int) -> "LinearProbe":
        """One that knows how features are spread, and nothing of classes."""
        variance, centre = torch.var_mean(features.double(), dim=0, correction=0)
        weight = centre.new_zeros(classes, len(centre))
        return cls(centre, (variance + EPS).sqrt(), weight, weight[:, 0].clone(), torch.inf)

    def fitted(
        self, features: Float[Tensor, "N F"], label: Int[Tensor, "N"], penalty: float
    ) -> "LinearProbe":
        """The one that fits these best under the penalty, looked for from here."""
        scaled = self._scaled(features)
        weight = self.weight.clone().requires_grad_()
        bias = self.bias.clone().requires_grad_()
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
        return LinearProbe(self.centre, self.width, weight.detach(), bias.detach(), penalty)


def train_probe(
    features: Float[Tensor, "N F"], label: Int[Tensor, "N"], *, classes: int, seed: int
) -> LinearProbe:
    """The probe of these training features; `seed` says which of them the penalty is chosen on."""
    with torch.enable_grad():
        order = streams.generator(seed, "probe/held_back").permutation(len(label))
        held_back, used = torch.from_numpy(order).tensor_split([round(HELD_BACK * len(label))])
        probe, scored = LinearProbe.blank(features[used], classes), []
        for penalty in PENALTIES:
            probe = probe.fitted(features[used], label[used], penalty)
            scored.append(accuracy(probe.logits(features[held_back]), label[held_back]))
        best = PENALTIES[scored.index(max(scored))]
        return LinearProbe.blank(features, classes).fitted(features, label, best)
