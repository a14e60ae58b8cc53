"""The Frechet distance between two sets of features.

The distance between N(m1, S1) and N(m2, S2) is |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2).
The matrix square root is never formed. With S1 = L1 L1^T and S2 = L2 L2^T the last trace is the
sum of the singular values of L1^T L2, which stays exact when there are fewer samples than features.
(The square roots of the eigenvalues of L1^T S2 L1 are the same numbers in half the time, but lose
half the digits of the small ones: 3e-8 of a distance at Inception's width. Error bars can do with
them.)

A reference that many sets are compared with is factored once:

    reference = Factored.of(statistics)
    distances = [reference.distance(statistics) for statistics in ...]

Source: Heusel et al. 2017, arXiv 1706.08500.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Float64
from torch import Tensor

from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput
from system.foundation.errors import NumericsError

LOWEST_RELATIVE_EIGENVALUE = -1e-6  # below this, rounding does not explain it: the input is wrong


@dataclass(frozen=True, slots=True, eq=False)
class Factored:
    """A set's statistics with a factor of its covariance: factor factor^T = covariance."""

    statistics: FeatureStatistics
    factor: Float64[Tensor, "F R"]

    @classmethod
    def of(cls, statistics: FeatureStatistics) -> "Factored":
        """Factor a covariance. Raises NumericsError where it is none."""
        if statistics.count > len(statistics.mean):
            factor, failed = torch.linalg.cholesky_ex(statistics.covariance)
            if not failed:
                return cls(statistics, factor)
        values, vectors = torch.linalg.eigh(statistics.covariance)
        return cls(statistics, vectors * _roots(_kept(values, statistics.count)))

    def distance(self, other: FeatureStatistics) -> float:
        """The distance to a set known by its moments, in squared feature units.

        Where a set has no more samples than features, this has some nine digits; `distance_of`, by
        the features, has them all. Raises
        NumericsError if an eigenvalue is negative by more than rounding, BadInput for features of
        another width.
        """
        _agree(self.statistics, other)
        cross = torch.linalg.svdvals(self.factor.T @ Factored.of(other).factor).sum()
        return _distance(self.statistics, other, cross)

    def distance_of(self, features: Float[Tensor, "N F"]) -> float:
        """The distance to a set known by its features: by singular values where N <= F."""
        other = FeatureStatistics.of(features)
        if len(features) > features.shape[1]:
            return self.distance(other)
        _agree(self.statistics, other)
        centred = (features.double() - other.mean) / (len(features) - 1) ** 0.5
        return _distance(self.statistics, other, torch.linalg.svdvals(centred @ self.factor).sum())

    def roots(self, inner: Float64[Tensor, "R R"], count: int) -> Float64[Tensor, "R"]:
        """Square roots of the eigenvalues of factor^T S factor, S being of `count` samples."""
        spectrum = torch.linalg.eigvalsh((inner + inner.T) / 2)
        return _roots(_kept(spectrum, self.statistics.count, count))


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """The Frechet distance between two sets, from their moments: `Factored.distance`."""
    return Factored.of(first).distance(second)


def frechet_distance_of(first: Float[Tensor, "N F"], second: Float[Tensor, "M F"]) -> float:
    """The same distance from the features themselves, by singular values: exact at any rank."""
    statistics_1, statistics_2 = FeatureStatistics.of(first), FeatureStatistics.of(second)
    centred_1 = (first.double() - statistics_1.mean) / (len(first) - 1) ** 0.5
    centred_2 = (second.double() - statistics_2.mean) / (len(second) - 1) ** 0.5
    # tr (S1 S2)^(1/2) is the nuclear norm of L1^T L2, and L = X^T is a factor of X^T X.
    cross = torch.linalg.svdvals(_reduced(centred_1) @ _reduced(centred_2).T).sum()
    return _distance(statistics_1, statistics_2, cross)


def _agree(first: FeatureStatistics, second: FeatureStatistics) -> None:
    if len(first.mean) != len(second.mean):
        raise BadInput(
            f"found features of width {len(second.mean)} and a reference of width "
            f"{len(first.mean)}; expected equal ones. They come from different detectors"
        )


def _distance(first: FeatureStatistics, second: FeatureStatistics, cross: Tensor) -> float:
    shift = (first.mean - second.mean).square().sum()
    trace = first.covariance.trace() + second.covariance.trace()
    return (shift + trace - 2 * cross).item()


def _kept(spectrum: Float64[Tensor, "R"], *counts: int) -> Float64[Tensor, "R"]:
    """An ascending spectrum without what has to be rounding: of n samples, n - 1 are not zero.

    The square root of rounding would be of the order of 1e-8, and there are many. A count of two
    says nothing: moments of nobody knows how many samples are held as if of two.
    """
    known = [count for count in counts if count > 2]
    excess = len(spectrum) - (min(known) - 1) if known else 0
    if excess <= 0:
        return spectrum
    return torch.cat([torch.zeros_like(spectrum[:excess]), spectrum[excess:]])


def _roots(eigenvalues: Float64[Tensor, "F"]) -> Float64[Tensor, "F"]:
    """Square roots of a covariance's eigenvalues; those below zero by rounding count as zero."""
    total = eigenvalues.clamp_min(0).sum()
    lowest = eigenvalues.min()
    if lowest < LOWEST_RELATIVE_EIGENVALUE * total:
        raise NumericsError(
            f"found the eigenvalue {lowest.item():.3g} in a covariance of trace {total.item():.3g}"
            "; expected none below zero beyond rounding. The moments given are no covariance"
        )
    return eigenvalues.clamp_min(0).sqrt()


def _reduced(matrix: Float64[Tensor, "N F"]) -> Float64[Tensor, "R F"]:
    """A matrix with the same Gram matrix over features and no more rows than needed."""
    return matrix if len(matrix) <= matrix.shape[1] else torch.linalg.qr(matrix, mode="r").R
