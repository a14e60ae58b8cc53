"""Mean and covariance of features, in float64, streamed and merged without loss of digits.

A set of features is cut into units; each unit becomes a `FeatureStatistics`; units are merged by
their index, so the result has the same bits whoever computed which unit, and when:

    parts = {unit: FeatureStatistics.of(features) for unit, features in ...}
    total = merge_in_order(parts)

Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance".
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Float64
from torch import Tensor

from system.foundation.errors import NumericsError


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStatistics:
    """Count, mean, and scatter (sum of outer products of the deviations from the mean)."""

    count: int
    mean: Float64[Tensor, "F"]
    scatter: Float64[Tensor, "F F"]

    @classmethod
    def of(cls, features: Float[Tensor, "B F"]) -> "FeatureStatistics":
        """The statistics of a set of features, which may be empty.

        Raises NumericsError for features that are not finite: they are never dropped.
        """
        bad = int((~torch.isfinite(features)).any(dim=1).sum())
        if bad:
            raise NumericsError(
                f"found {bad} of {len(features)} feature vectors that are not finite; expected "
                "none. The images they come from are damaged or the detector's weights are"
            )
        features = features.detach().to("cpu", torch.float64)
        width = features.shape[1]
        if not len(features):
            zero = torch.zeros(width, dtype=torch.float64)
            return cls(0, zero, zero.new_zeros(width, width))
        mean = features.mean(dim=0)
        deviation = features - mean
        return cls(len(features), mean, deviation.T @ deviation)

    def merge(self, other: "FeatureStatistics") -> "FeatureStatistics":
        """The statistics of both sets together."""
        count = self.count + other.count
        if not count:
            return self
        step = other.mean - self.mean
        share = other.count / count
        return FeatureStatistics(
            count,
            self.mean + share * step,
            self.scatter + other.scatter + (self.count * share) * torch.outer(step, step),
        )

    @property
    def covariance(self) -> Float64[Tensor, "F F"]:
        """The unbiased covariance (denominator count - 1). Raises NumericsError below 2 samples."""
        if self.count < 2:
            raise NumericsError(
                f"found {self.count} feature vectors; a covariance needs at least 2"
            )
        return self.scatter / (self.count - 1)


def merge_in_order(parts: Mapping[int, FeatureStatistics]) -> FeatureStatistics:
    """All units as one, merged by ascending index: the same bits for any order of arrival."""
    assert parts, "there is nothing to merge"
    first, *rest = sorted(parts)
    total = parts[first]
    for unit in rest:
        total = total.merge(parts[unit])
    return total
