"""Mean and covariance of features, in float64, streamed and merged without loss of digits.

A set of features is cut into units; each unit becomes a `FeatureStatistics`; units are merged by
their index, so the result has the same bits whoever computed which unit, and when:

    parts = {unit: FeatureStatistics.of(features) for unit, features in ...}
    total = merge_in_order(parts)

Where features come one part after another, `streamed` cuts them anew into blocks of a fixed size
and adds these up in order: the same bits for any parts, in the memory of one covariance and a
block.

Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance".
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Float64
from torch import Tensor

from system.foundation.errors import NumericsError

BLOCK = 2048  # feature vectors that are added up at once by `streamed`
STRIPES = 8  # of rows, each of which leaves out what lies right of the diagonal


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
        _look_at(features)
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


def streamed(parts: Iterable[Float[Tensor, "_ F"]]) -> FeatureStatistics:
    """The statistics of features that come in parts, in order: the same bits however they are cut.

    Raises NumericsError for features that are not finite, and where there are none at all.
    """
    count, mean, lower = 0, torch.empty(0), torch.empty(0)
    for block in blocks(parts, BLOCK):
        deviation = block.detach().to("cpu", torch.float64, copy=True)
        block_mean = deviation.mean(dim=0)
        if not torch.isfinite(block_mean).all():
            _look_at(block)
        deviation -= block_mean
        if not count:
            mean, width = torch.zeros_like(block_mean), len(block_mean)
            lower = mean.new_zeros(width, width)
        for rows in _stripes(len(mean)):  # the upper triangle is the lower one's mirror
            lower[rows, : rows.stop].addmm_(deviation[:, rows].T, deviation[:, : rows.stop])
        step, share = block_mean - mean, len(block) / (count + len(block))
        lower.addr_(step, step, alpha=count * share)
        mean = mean + share * step
        count += len(block)
    if not count:
        raise NumericsError("found no features; statistics need at least one feature vector")
    lower.tril_()
    return FeatureStatistics(count, mean, lower + lower.tril(-1).T)


def _stripes(width: int) -> list[slice]:
    """A matrix's rows in STRIPES, or fewer."""
    size = -(-width // STRIPES)
    return [slice(start, min(start + size, width)) for start in range(0, width, size)]


def blocks(parts: Iterable[Float[Tensor, "_ F"]], size: int) -> Iterator[Float[Tensor, "B F"]]:
    """The same rows in blocks of `size`, the last one shorter; parts may be empty."""
    held: list[Tensor] = []
    room = size
    for part in parts:
        rest = part
        while len(rest):
            held.append(rest[:room])
            rest = rest[room:]
            room -= len(held[-1])
            if not room:
                yield held[0] if len(held) == 1 else torch.cat(held)
                held, room = [], size
    if held:
        yield torch.cat(held)


def _look_at(features: Float[Tensor, "B F"]) -> None:
    """Raise NumericsError for features that are not finite."""
    bad = int((~torch.isfinite(features)).any(dim=1).sum())
    if bad:
        raise NumericsError(
            f"found {bad} of {len(features)} feature vectors that are not finite; expected none. "
            "The images they come from are damaged or the detector's weights are"
        )
