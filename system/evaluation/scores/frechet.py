"""The Frechet distance between two sets of features.

The distance between N(m1, S1) and N(m2, S2) is |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2).
The matrix square root is never formed. With S1 = L L^T the last trace is the sum of the square
roots of the eigenvalues of L^T S2 L, which is symmetric; with factors of both it is the sum of the
singular values of L1^T L2, which stays exact when there are fewer samples than features.

Source: Heusel et al. 2017, arXiv 1706.08500.
"""

import torch
from jaxtyping import Float
from jaxtyping import Float64
from torch import Tensor

from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import NumericsError

LOWEST_RELATIVE_EIGENVALUE = -1e-6  # below this, rounding does not explain it: the input is wrong


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """The Frechet distance between two sets, from their moments, in squared feature units.

    Rank-deficient covariances (fewer samples than features) cost half of the digits; there,
    `frechet_distance_of` is exact. Raises NumericsError if an eigenvalue is negative by more than
    rounding.
    """
    cov_1, cov_2 = first.covariance, second.covariance
    values, vectors = torch.linalg.eigh(cov_1)
    factor = vectors * _roots(values)
    inner = factor.T @ cov_2 @ factor
    cross = _roots(torch.linalg.eigvalsh((inner + inner.T) / 2)).sum()
    return _distance(first, second, cross)


def frechet_distance_of(first: Float[Tensor, "N F"], second: Float[Tensor, "M F"]) -> float:
    """The same distance from the features themselves, by singular values: exact at any rank."""
    statistics_1, statistics_2 = FeatureStatistics.of(first), FeatureStatistics.of(second)
    centred_1 = (first.double() - statistics_1.mean) / (len(first) - 1) ** 0.5
    centred_2 = (second.double() - statistics_2.mean) / (len(second) - 1) ** 0.5
    # tr (S1 S2)^(1/2) is the nuclear norm of L1^T L2, and L = X^T is a factor of X^T X.
    cross = torch.linalg.svdvals(_reduced(centred_1) @ _reduced(centred_2).T).sum()
    return _distance(statistics_1, statistics_2, cross)


def _distance(first: FeatureStatistics, second: FeatureStatistics, cross: Tensor) -> float:
    shift = (first.mean - second.mean).square().sum()
    trace = first.covariance.trace() + second.covariance.trace()
    return (shift + trace - 2 * cross).item()


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
