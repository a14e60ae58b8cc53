"""The Frechet distance of a set with its bias and its error.

The distance of n images is too large by c1/n + c2/n^2 + ... The value at n, the mean of the values
without one of 20 groups, and the mean of the values of halves (ten splits of the groups into two
halves) give three points of that curve; the corrected value is its end at 1/n = 0. The jackknife's
own correction stops at c1 and takes too much away where there are few images for a feature.

The standard error is that of the delete-one-group jackknife. A distance near its least value is a
square: its jackknife counts the variance that comes of pairs of images twice (Efron & Stein). That
part is known for Gaussian features, and half of it is taken off: all of it makes intervals too
short, because the rest is then too noisy; none makes them too long for a good model. The figures
are in docs/evaluation.md.

Source: Efron & Stein 1981, "The jackknife estimate of variance"; bias for Gaussian features: our
own derivation, by the second derivative of tr A^(1/2).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Float64
from torch import Tensor

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.jackknife import GROUPS
from system.evaluation.scores.jackknife import Estimate
from system.evaluation.scores.jackknife import jackknife
from system.evaluation.scores.jackknife import jackknife_groups
from system.evaluation.scores.jackknife import reach
from system.evaluation.statistics import FeatureStatistics
from system.foundation import streams

SPLITS = 10  # of the groups into halves
PAIRS_TAKEN_OFF = 0.5  # of the variance that the jackknife counts too much
LEAST_VARIANCE = 0.25  # of the jackknife's, whatever is taken off


def frechet_estimate(
    features: Float[Tensor, "N F"], reference: Factored, groups: int = GROUPS
) -> Estimate:
    """The distance of a set to a reference, corrected for its number of images, and its error.

    The reference is taken as it is: its own error is no part of this. Needs two images in every
    group and half, and costs `groups` + 20 eigenvalue problems. Raises BadInput, NumericsError.
    """
    held = Groups.of(features, groups)
    whole = held.merged(range(groups))
    value = reference.distance_of(features)
    without = [reference.distance(held.merged(kept)) for kept in _all_but_one(groups)]
    halves = [reference.distance(held.merged(half)) for half in _halves(groups)]
    plain = jackknife(value, without)
    variance = plain.standard_error**2
    taken = PAIRS_TAKEN_OFF * _variance_of_pairs(whole, reference)
    corrected = _at_zero(value, sum(without) / groups, sum(halves) / len(halves), groups)
    error = max(variance - taken, LEAST_VARIANCE * variance) ** 0.5
    far = reach(groups) * error
    return Estimate(value, corrected, error, (corrected - far, corrected + far))


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
class Groups:
    """The statistics of every group of a set, half of each symmetric matrix held."""

    count: Float64[Tensor, "G"]
    mean: Float64[Tensor, "G F"]
    scatter: Float64[Tensor, "G P"]  # rows of the lower triangle

    @classmethod
    def of(cls, features: Float[Tensor, "N F"], groups: int) -> "Groups":
        """Deal the images to groups and add each group up."""
        assert len(features) >= 2 * groups, "every group needs two images"
        dealt = jackknife_groups(len(features), groups)
        width = features.shape[1]
        row, column = torch.tril_indices(width, width)
        count = torch.bincount(dealt, minlength=groups).double()
        mean = torch.empty(groups, width, dtype=torch.float64)
        scatter = torch.empty(groups, len(row), dtype=torch.float64)
        for group in range(groups):
            part = FeatureStatistics.of(features[dealt == group])
            mean[group] = part.mean
            scatter[group] = part.scatter[row, column]
        return cls(count, mean, scatter)

    def merged(self, chosen: Iterable[int]) -> FeatureStatistics:
        """The statistics of these groups' images together."""
        index = list(chosen)
        count, means = self.count[index], self.mean[index]
        mean = (count / count.sum()) @ means
        step = means - mean
        scatter = (step.T * count) @ step
        width = len(mean)
        row, column = torch.tril_indices(width, width)
        lower = torch.zeros(width, width, dtype=torch.float64)
        packed = self.scatter[index[0]].clone()
        for group in index[1:]:
            packed += self.scatter[group]
        lower[row, column] = packed
        scatter += lower
        scatter += lower.tril(-1).T
        return FeatureStatistics(int(count.sum()), mean, scatter)


def _all_but_one(groups: int) -> list[list[int]]:
    return [[other for other in range(groups) if other != one] for one in range(groups)]


def _halves(groups: int) -> list[list[int]]:
    """Both halves of SPLITS random splits of the groups, the same ones always."""
    halves = []
    for split in range(SPLITS):
        order = streams.generator(0, f"evaluation/halves/{groups}/{split}").random(groups).argsort()
        halves += [order[: groups // 2].tolist(), order[groups // 2 : groups // 2 * 2].tolist()]
    return halves


def _at_zero(value: float, without: float, half: float, groups: int) -> float:
    """The end at 0 of the parabola through the three values, over the inverse number of images."""
    at = torch.tensor([1.0, groups / (groups - 1), 2 * (groups // 2 * 2 / groups) ** -1])
    values = torch.tensor([value, without, half], dtype=torch.float64)
    curve = torch.linalg.solve(torch.vander(at.double(), increasing=True), values)
    return curve[0].item()


def _variance_of_pairs(whole: FeatureStatistics, reference: Factored) -> float:
    """The part of the distance's variance that pairs of images bring, for Gaussian features."""
    roots = reference.cross_spectrum(whole).clamp_min(0).sqrt()
    pairs = _pairs(roots)
    of_means = 2 * whole.covariance.square().sum()
    total = pairs.square().sum() + pairs.diagonal().square().sum() + of_means
    return (total / whole.count**2).item()


def _pairs(values: Float64[Tensor, "R"]) -> Float64[Tensor, "R R"]:
    """l_i l_j / (l_i + l_j), 0 where both are."""
    total = values[:, None] + values[None, :]
    return values[:, None] * values[None, :] / total.clamp_min(torch.finfo(total.dtype).tiny)
