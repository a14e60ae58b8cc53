"""A linear classifier on frozen features, and how what it leaves open is chosen on training data.

A `Fit` makes a probe of features for one candidate of what has to be chosen: a penalty
(`logistic_regression`), a learning rate and a length (`stochastic_descent`). Each candidate is
fitted on the training images but for a share held back, and that is taken which does best there; of
equals the first. Then all training images are fitted with it. The images that are measured have no
part in any of it.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import TypeVar

import torch
from jaxtyping import Float
from jaxtyping import Float64
from jaxtyping import Int
from torch import Tensor

from system.evaluation.scores.accuracy import accuracy
from system.foundation import streams
from system.foundation.errors import NumericsError

EPS = 1e-6  # MAE's, under the root of the variance

C = TypeVar("C")


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A fitted classifier: a batch norm without affine map, then weights and biases."""

    centre: Float64[Tensor, "F"]
    width: Float64[Tensor, "F"]
    weight: Float64[Tensor, "classes F"]
    bias: Float64[Tensor, "classes"]
    chosen: Mapping[str, float] = field(default_factory=dict)  # of what was to be chosen, by name

    def logits(self, features: Float[Tensor, "N F"]) -> Float64[Tensor, "N classes"]:
        """What it says of features."""
        return self.scaled(features) @ self.weight.T + self.bias

    def scaled(self, features: Float[Tensor, "N F"]) -> Float64[Tensor, "N F"]:
        """Features with the mean and spread of the fitted ones taken out."""
        return (features.double() - self.centre) / self.width

    @classmethod
    def blank(cls, features: Float[Tensor, "N F"], classes: int) -> "LinearProbe":
        """One that knows how features are spread, and nothing of classes."""
        variance, centre = torch.var_mean(features.double(), dim=0, correction=0)
        weight = centre.new_zeros(classes, len(centre))
        return cls(centre, (variance + EPS).sqrt(), weight, weight[:, 0].clone())


# Features, labels, the candidate, and the probe of the candidate before it on the same features.
Fit = Callable[[Tensor, Tensor, C, LinearProbe], LinearProbe]


def choose(
    fit: Fit[C],
    candidates: Sequence[C],
    features: Float[Tensor, "N F"],
    label: Int[Tensor, "N"],
    *,
    classes: int,
    held_back: float,
    seed: int,
) -> tuple[LinearProbe, C]:
    """The probe of all these features for the candidate that does best on what is held back.

    `seed` says which images these are. Candidates come in order, each with the last one's probe to
    start from. Raises NumericsError where no candidate gives finite logits.
    """
    order = streams.generator(seed, "probe/held_back").permutation(len(label))
    aside, used = torch.from_numpy(order).tensor_split([round(held_back * len(label))])
    probe, scored = LinearProbe.blank(features[used], classes), []
    for candidate in candidates:
        probe = fit(features[used], label[used], candidate, probe)
        logits = probe.logits(features[aside])
        scored.append(accuracy(logits, label[aside]) if logits.isfinite().all() else -1.0)
    if max(scored) < 0:
        raise NumericsError(
            f"a linear probe of {len(label)} features has no finite logits under any of "
            f"{list(candidates)}; expected some. Give smaller learning rates"
        )
    best = candidates[scored.index(max(scored))]
    return fit(features, label, best, LinearProbe.blank(features, classes)), best
