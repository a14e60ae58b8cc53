"""The Frechet distance of a set with its bias and its error.

The distance of n images is too large by c1/n + c2/n^2 + ... The value at n, the mean of the values
without one of 20 groups, and the mean of the values of halves (ten splits of the groups into two
halves) give three points of that curve; the corrected value is its end at 1/n = 0. The jackknife's
own correction stops at c1 and takes too much away where there are few images for a feature.

The standard error is that of the delete-one-group jackknife. A distance near its least value is a
square: there the jackknife counts the variance that comes of pairs of images twice (Efron & Stein).
That part is known for Gaussian features, and half of it is taken off: taking all of it makes
intervals too short, because the rest is then too noisy; taking none makes them too long for good
models. The interval is not symmetric: its ends are the distances of the same images with weights
that lean as far to either side as the error reaches, in the direction that changes the distance
fastest (Efron's least favourable family). docs/evaluation.md has the figures.

Source: Efron & Stein 1981, "The jackknife estimate of variance"; Efron 1987, "Better bootstrap
confidence intervals"; bias and variance of Gaussian features: our own derivation, by the second
derivative of tr A^(1/2).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Float64
from torch import Tensor

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.grouped_moments import GroupedMoments
from system.evaluation.scores.jackknife import GROUPS
from system.evaluation.scores.jackknife import Estimate
from system.evaluation.scores.jackknife import jackknife
from system.evaluation.scores.jackknife import reach
from system.evaluation.statistics import BLOCK
from system.foundation import streams

SPLITS = 10  # of the groups into halves
PAIRS_TAKEN_OFF = 0.5  # of the variance that the jackknife counts too much
LEAST_VARIANCE = 0.25  # of the jackknife's, whatever is taken off


def frechet_estimate(
    features: Float[Tensor, "N F"], reference: Factored, groups: int = GROUPS
) -> Estimate:
    """The distance of a set to a reference, corrected for its number of images, and its error.

    The reference is taken as it is: its own error is no part of this. Needs two images in every
    group, and costs some `groups` + 22 eigenvalue problems and four products like the covariance;
    corrections are to be trusted from some five images per feature on. Raises BadInput where
    images are too few, and what `Factored.distance_of` raises.
    """
    value = reference.distance_of(features)
    held = GroupedMoments.of(features, reference, groups)
    without = [
        held.distance([kept for kept in range(groups) if kept != out]) for out in range(groups)
    ]
    halves = [held.distance(half) for half in _halves(groups)]
    plain = jackknife(value, without)
    corrected = _at_zero(value, sum(without) / groups, sum(halves) / len(halves), groups)
    leaning = _Leaning.of(features, held)
    variance = plain.standard_error**2
    taken = PAIRS_TAKEN_OFF * leaning.variance_of_pairs
    error = max(variance - taken, LEAST_VARIANCE * variance) ** 0.5
    low, high = (leaning.change(side * reach(groups) * error) for side in (-1, 1))
    interval = (corrected + low, corrected + high)
    return Estimate(value, corrected, error, interval, tuple(without))


def small_sample_bias(
    covariance: Float64[Tensor, "F F"], count: int, reference_count: int | None = None
) -> float:
    """What the distance of `count` Gaussian samples to their own distribution is on average.

    To the first order in 1/count. With `reference_count`, of two finite sets of these sizes.
    """
    values = torch.linalg.eigvalsh(covariance).clamp_min(0)
    total = values.sum() + _pairs(values).sum() / 2 + values.sum() / 4
    shares = 1 / count + (0 if reference_count is None else 1 / reference_count)
    return (total * shares).item()


@dataclass(frozen=True, slots=True, eq=False)
class _Leaning:
    """A set whose images' weights lean along their influence on the distance.

    In coordinates where factor^T S factor is diagonal, with the squares of `roots` on its diagonal.
    The others are what one unit of leaning changes, which changes the distance by about 1.
    """

    count: int
    roots: Float64[Tensor, "R"]
    slope: Float64[Tensor, "F"]  # of the distance over the mean
    shift: Float64[Tensor, "F"]  # of the mean
    inner_shift: Float64[Tensor, "R"]
    trace: float
    inner: Float64[Tensor, "R R"]

    @classmethod
    def of(cls, features: Float[Tensor, "N F"], held: GroupedMoments) -> "_Leaning":
        """Sum over images, each by its influence on the distance."""
        whole, reference = held.merged(range(held.groups)), held.reference
        values, vectors = torch.linalg.eigh(whole.inner)
        roots, tiny = values.clamp_min(0).sqrt(), torch.finfo(values.dtype).tiny
        is_noise = values <= len(values) * torch.finfo(values.dtype).eps * values[-1]
        inverse = torch.where(is_noise, 0.0, 1 / roots.clamp_min(tiny))
        turn, slope = reference.factor @ vectors, 2 * (whole.mean - reference.statistics.mean)
        influence, length = torch.empty(2, len(features), dtype=torch.float64)
        shift, inner_shift = torch.zeros_like(whole.mean), torch.zeros_like(roots)
        inner = torch.zeros_like(whole.inner)
        for start in range(0, len(features), BLOCK):
            rows = slice(start, start + BLOCK)
            away = features[rows].double() - whole.mean
            seen = away @ turn
            length[rows] = away.square().sum(dim=1)
            influence[rows] = away @ slope + length[rows] - seen.square() @ inverse
            shift += influence[rows] @ away
            inner_shift += influence[rows] @ seen
            inner.addmm_(seen.T * influence[rows], seen)
        middle = influence.mean()
        inner -= middle * (whole.count - 1) * values.diag()
        influence -= middle
        scale = influence.square().sum().clamp_min(tiny)
        trace = (influence @ length / scale).item()
        return cls(
            whole.count, roots, slope, shift / scale, inner_shift / scale, trace, inner / scale
        )

    def change(self, lean: float) -> float:
        """How far the distance goes where the weights lean so many units."""
        share = self.count / (self.count - 1)
        moved = lean * self.inner - lean**2 * torch.outer(self.inner_shift, self.inner_shift)
        inner = self.roots.square().diag() + share * moved
        roots = torch.linalg.eigvalsh(inner).clamp_min(0).sqrt()
        length = self.shift.square().sum()
        of_mean = lean * self.slope @ self.shift + lean**2 * length
        of_trace = share * (lean * self.trace - lean**2 * length)
        return (of_mean + of_trace - 2 * (roots.sum() - self.roots.sum())).item()

    @property
    def variance_of_pairs(self) -> float:
        """The part of the distance's variance that pairs of images bring.

        For Gaussian features; that of the means as if both covariances were the same.
        """
        pairs = _pairs(self.roots)
        total = pairs.square().sum() + pairs.diagonal().square().sum()
        return ((total + 2 * self.roots.square().sum()) / self.count**2).item()


def _halves(groups: int) -> list[list[int]]:
    """Both halves of SPLITS random splits of the groups, the same ones always."""
    halves = []
    for split in range(SPLITS):
        order = streams.generator(0, f"evaluation/halves/{groups}/{split}").random(groups).argsort()
        halves += [order[: groups // 2].tolist(), order[groups // 2 : groups // 2 * 2].tolist()]
    return halves


def _at_zero(value: float, without: float, half: float, groups: int) -> float:
    """The end at 0 of the parabola through the three values, over the inverse number of images."""
    inverse = torch.tensor([1, groups / (groups - 1), groups / (groups // 2)], dtype=torch.float64)
    values = torch.tensor([value, without, half], dtype=torch.float64)
    return torch.linalg.solve(torch.vander(inverse, increasing=True), values)[0].item()


def _pairs(values: Float64[Tensor, "R"]) -> Float64[Tensor, "R R"]:
    """l_i l_j / (l_i + l_j), 0 where both are."""
    total = values[:, None] + values[None, :]
    return values[:, None] * values[None, :] / total.clamp_min(torch.finfo(total.dtype).tiny)
