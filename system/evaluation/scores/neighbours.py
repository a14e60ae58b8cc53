"""Precision and recall, density and coverage: whether images lie among others' nearest neighbours.

The ball of an image reaches to its k-th nearest neighbour in its own set, itself not counted.

* Precision: share of drawn images in at least one ball of the real ones; recall: the reverse.
* Density: how many balls of real images a drawn image lies in, over k; coverage: share of real
  images with a drawn one in their ball. Balls of the real alone, which outliers cannot blow up.

An image at a ball's very edge lies in it (`<=`). All depend on the sizes of both sets. Distances
are Euclidean, in one of these:

* float32: |a|^2 - 2 a.b + |b|^2 of features whose common mean is taken out first, not below 0;
* float64: the same in float64;
* float16_adm: as ADM's evaluator has them: features, their products and the sums of these rounded
  to float16 each (to float32 for all where one could be too large). Few distinct ones are left.

Source: Kynkaanniemi et al. 2019, arXiv 1904.06991; Naeem et al. 2020, arXiv 2002.09797.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor

from system.evaluation.scores.jackknife import GROUPS
from system.evaluation.scores.jackknife import Estimate
from system.evaluation.scores.jackknife import jackknife_groups
from system.evaluation.scores.jackknife import plain_jackknife
from system.foundation.errors import BadInput

Distance = Literal["float32", "float64", "float16_adm"]
ROWS = 1024  # of a matrix of distances that are computed at once
SPARE = 8  # neighbours that are kept beside the k nearest, for those left out


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Shares in [0, 1]; their errors are those of the drawn images, the real ones as they are."""

    precision: Estimate
    recall: Estimate


@dataclass(frozen=True, slots=True)
class DensityCoverage:
    """Density, at least 0 and about 1 for real images, and coverage in [0, 1]."""

    density: Estimate
    coverage: Estimate


def precision_recall(
    real: Float[Tensor, "M F"],
    fake: Float[Tensor, "N F"],
    k: int = 3,
    distance: Distance = "float32",
) -> PrecisionRecall:
    """Precision and recall. Raises BadInput where a set is too small for k neighbours."""
    real_points, fake_points = _points(real, fake, k, distance)
    dealt, groups = _dealt(fake)
    real_radius = _radii(real_points, k, None)[0]
    fake_radius = _radii(fake_points, k, dealt)
    inside = torch.cat(
        [(apart <= real_radius).any(dim=1) for apart in _apart(fake_points, real_points)]
    )
    found = [
        torch.stack([(apart <= radius).any(dim=1) for radius in fake_radius])
        for apart in _apart(real_points, fake_points)
    ]
    whole, *without = torch.cat(found, dim=1).double().mean(dim=1).tolist()
    return PrecisionRecall(_mean(inside, dealt, groups), plain_jackknife(whole, without))


def density_coverage(
    real: Float[Tensor, "M F"],
    fake: Float[Tensor, "N F"],
    k: int = 5,
    distance: Distance = "float32",
) -> DensityCoverage:
    """Density and coverage. Raises BadInput where a set is too small for k neighbours."""
    real_points, fake_points = _points(real, fake, k, distance)
    dealt, groups = _dealt(fake)
    radius = _radii(real_points, k, None)[0]
    within = torch.zeros(len(fake), dtype=torch.float64)
    hits = torch.zeros(len(real), groups, dtype=torch.float64)  # in each real image's ball
    start = 0
    for apart in _apart(fake_points, real_points):
        rows = slice(start, start + len(apart))
        is_in = (apart <= radius).double()
        within[rows] = is_in.sum(dim=1)
        hits.index_add_(1, dealt[rows], is_in.T)
        start = rows.stop
    total = hits.sum(dim=1, keepdim=True)
    covered = torch.cat([total, total - hits], dim=1) > 0
    whole, *without = covered.double().mean(dim=0).tolist()
    return DensityCoverage(_mean(within / k, dealt, groups), plain_jackknife(whole, without))


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """A set's features as distances are computed from them, and their squared lengths."""

    at: Float[Tensor, "N F"]
    length: Float[Tensor, "N"]
    is_half: bool  # products and sums are rounded to float16

    @classmethod
    def of(cls, features: Float[Tensor, "N F"]) -> "_Points":
        return cls(features, features.square().sum(dim=1), False)

    @classmethod
    def rounded(cls, features: Float[Tensor, "N F"]) -> "_Points":
        # Sums of products of float16 are held in float32, as devices do, and rounded once.
        at = features.half().float()
        return cls(at, at.square().sum(dim=1).half(), True)

    def __len__(self) -> int:
        return len(self.at)

    def apart(self, rows: slice, others: "_Points") -> Float[Tensor, "R M"]:
        """Squared distances of these rows to all of others."""
        product = 2 * (self.at[rows] @ others.at.T)
        if self.is_half:
            product = product.half()
        apart = self.length[rows, None] - product + others.length
        return apart.clamp_min(0).to(self.at.dtype)


def _points(
    real: Float[Tensor, "M F"], fake: Float[Tensor, "N F"], k: int, distance: Distance
) -> tuple[_Points, _Points]:
    for name, features in (("real", real), ("drawn", fake)):
        count = len(features)
        if count < k + 1 + -(-count // GROUPS):
            raise BadInput(
                f"found {count} {name} images; expected more for {k} nearest neighbours each, with "
                "a part left out for the error"
            )
    dtype = torch.float64 if distance == "float64" else torch.float32
    real, fake = real.to(dtype), fake.to(dtype)
    longest = max(one.square().sum(dim=1).max().item() for one in (real, fake))
    if distance == "float16_adm" and 4 * longest < torch.finfo(torch.float16).max:
        return _Points.rounded(real), _Points.rounded(fake)
    centre = real.double().mean(dim=0).to(dtype)  # or the lengths would cancel
    return _Points.of(real - centre), _Points.of(fake - centre)


def _apart(first: _Points, second: _Points) -> Iterator[Float[Tensor, "R M"]]:
    """Squared distances of the first set's images to the second's, some rows at a time."""
    for start in range(0, len(first), ROWS):
        yield first.apart(slice(start, min(start + ROWS, len(first))), second)


def _radii(points: _Points, k: int, dealt: Int[Tensor, "N"] | None) -> Float[Tensor, "sets N"]:
    """Squared distance to the k-th neighbour, in the whole set and with each group left out.

    Those of an image that is left out itself are -1: nothing lies in its ball.
    """
    is_out = [] if dealt is None else [dealt == group for group in range(int(dealt.max()) + 1)]
    radii = points.at.new_empty(1 + len(is_out), len(points))
    start = 0
    for apart in _apart(points, points):
        rows = slice(start, start + len(apart))
        apart[range(len(apart)), range(rows.start, rows.stop)] = torch.inf
        near = apart.topk(min(k + SPARE, len(points)), largest=False)
        radii[0, rows] = near.values[:, k - 1]
        for radius, out in zip(radii[1:], is_out, strict=True):
            radius[rows] = _without(apart, near, k, out).masked_fill(out[rows], -1)
        start = rows.stop
    return radii


def _without(
    apart: Float[Tensor, "R M"],
    near: tuple[Float[Tensor, "R s"], Int[Tensor, "R s"]],
    k: int,
    is_out: Bool[Tensor, "M"],
) -> Float[Tensor, "R"]:
    """The k-th smallest of those that are not out, by way of the smallest of all."""
    values, index = near
    kept = (~is_out[index]).cumsum(dim=1)
    place = (kept < k).sum(dim=1)
    found = values.gather(1, place.clamp_max(values.shape[1] - 1)[:, None])[:, 0].clone()
    short = kept[:, -1] < k  # nearly all neighbours were out: look at everything
    if short.any():
        found[short] = apart[short].masked_fill(is_out, torch.inf).kthvalue(k, dim=1).values
    return found


def _dealt(fake: Float[Tensor, "N F"]) -> tuple[Int[Tensor, "N"], int]:
    groups = min(GROUPS, len(fake))
    return jackknife_groups(len(fake), groups), groups


def _mean(values: Tensor, dealt: Int[Tensor, "N"], groups: int) -> Estimate:
    """The mean of a value of each drawn image."""
    total = torch.zeros(groups, dtype=torch.float64).index_add_(0, dealt, values.double())
    size = torch.bincount(dealt, minlength=groups)
    without = (total.sum() - total) / (len(values) - size)
    return plain_jackknife((total.sum() / len(values)).item(), without.tolist())
