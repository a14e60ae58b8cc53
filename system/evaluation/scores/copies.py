"""Whether drawn images are copies: their distance to the training images, beside held-out images'.

A model that has learned the distribution draws images as far from the training images as images
held out of them are; one that copies draws nearer ones. So every number has the held-out images'
distances d(held out) as its scale, in whatever features the distances are of:

* share: drawn images nearer than the 1 % quantile of d(held out). 0.01 where nothing is copied.
* auc: P(d(drawn) < d(held out)), ties counted half, the Mann-Whitney statistic. 0.5 where both are
  as far; above, drawn ones are nearer: copied, or simply more alike than real images are; below,
  they are strange to the training images. Source: Meehan et al. 2020, arXiv 2004.05675, without
  its cells.
* ks: the Kolmogorov-Smirnov distance, the largest difference of the two distribution functions.
* memorised: share of images three times nearer to one training image than to any other. Source: Gu
  et al. 2023, arXiv 2310.02664, after Yoon et al. 2023, there of pixels. Images that stand twice in
  the training set escape it.

A few copies move the share and `memorised`, and leave auc and ks as they are.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Float64
from jaxtyping import Int
from torch import Tensor

from system.foundation.errors import BadInput
from system.foundation.errors import NumericsError

QUANTILE = 0.01
RATIO = 3.0
ROWS = 1024  # of a matrix of distances that is computed at once


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """Of each image the nearest others, the very nearest first."""

    distance: Float64[Tensor, "N k"]
    index: Int[Tensor, "N k"]

    def __getitem__(self, rows: slice) -> "Nearest":
        return Nearest(self.distance[rows], self.index[rows])


@dataclass(frozen=True, slots=True)
class Score:
    """A value with its standard error, where it has one."""

    value: float
    standard_error: float | None = None


@dataclass(frozen=True, slots=True)
class Copies:
    """What the distances say: see the module."""

    share: Score
    auc: Score
    ks: Score
    memorised: Score
    memorised_held_out: Score


def nearest_of(
    features: Float[Tensor, "N F"], others: Iterable[Float[Tensor, "_ F"]], k: int
) -> Nearest:
    """The k nearest of `others`, which come in parts, to each row of features (Euclidean).

    Memory is that of one part and of N times k. Of equally near ones the earlier are taken.
    Candidates are found by products, and their distances computed from differences in float64: an
    exact copy is at distance zero. Raises BadInput for fewer than k others, NumericsError for
    features that are not finite.
    """
    queries = _finite(features)
    distance = queries.new_full((len(queries), k), torch.inf)
    index = torch.full((len(queries), k), -1)
    seen = 0
    for part in others:
        part = _finite(part)
        for start in range(0, len(queries), ROWS):
            rows = slice(start, start + ROWS)
            found, place = _nearest_in(queries[rows], part, min(k, len(part)))
            both = torch.cat([distance[rows], found], dim=1)
            order = both.argsort(dim=1, stable=True)[:, :k]
            distance[rows] = both.gather(1, order)
            index[rows] = torch.cat([index[rows], place + seen], dim=1).gather(1, order)
        seen += len(part)
    if seen < k:
        raise BadInput(f"found {seen} images to be near to; expected at least {k}")
    return Nearest(distance, index)


def copies(drawn: Nearest, held_out: Nearest) -> Copies:
    """What the distances of drawn and held-out images to the training images say of copies.

    Raises BadInput where either has no image, or fewer than two neighbours each.
    """
    if not len(drawn.distance) or not len(held_out.distance) or drawn.distance.shape[1] < 2:
        raise BadInput(
            f"found {len(drawn.distance)} drawn and {len(held_out.distance)} held-out images with "
            f"{drawn.distance.shape[1]} neighbours; expected images of both, and two neighbours"
        )
    near, scale = (each.distance[:, 0].contiguous() for each in (drawn, held_out))
    return Copies(
        share=_share_below(near, scale),
        auc=_auc(near, scale),
        ks=Score(_kolmogorov_smirnov(near, scale)),
        memorised=_memorised(drawn),
        memorised_held_out=_memorised(held_out),
    )


def _finite(features: Float[Tensor, "N F"]) -> Float64[Tensor, "N F"]:
    bad = int((~features.isfinite()).any(dim=1).sum())
    if bad:
        raise NumericsError(
            f"found {bad} of {len(features)} feature vectors that are not finite; expected none"
        )
    return features.double()


def _nearest_in(
    queries: Float64[Tensor, "N F"], part: Float64[Tensor, "M F"], k: int
) -> tuple[Float64[Tensor, "N k"], Int[Tensor, "N k"]]:
    centre = part.mean(dim=0)  # far from the origin the products would lose digits
    one, other = queries - centre, part - centre
    squared = other.square().sum(dim=1) - 2 * one @ other.T  # less |query|^2, equal for all
    place = squared.argsort(dim=1, stable=True)[:, :k]
    distance = torch.stack(
        [(queries - part[place[:, near]]).square().sum(dim=1).sqrt() for near in range(k)], dim=1
    )
    return distance, place


def _share_below(near: Float64[Tensor, "N"], scale: Float64[Tensor, "M"]) -> Score:
    """The error has two parts: the drawn images', and that of the quantile they are held to."""
    threshold = torch.quantile(scale, QUANTILE)
    share = (near < threshold).double().mean().item()
    drawn = max(share * (1 - share), QUANTILE * (1 - QUANTILE)) / len(near)
    return Score(share, math.sqrt(drawn + QUANTILE * (1 - QUANTILE) / len(scale)))


def _auc(near: Float64[Tensor, "N"], scale: Float64[Tensor, "M"]) -> Score:
    """With DeLong's standard error: that of the means of both sides' placements. Source: DeLong et
    al. 1988."""
    drawn, held_out = 1 - _placements(near, scale), _placements(scale, near)
    value = drawn.mean().item()
    if len(near) < 2 or len(scale) < 2:
        return Score(value)
    return Score(value, math.sqrt(drawn.var() / len(near) + held_out.var() / len(scale)))


def _placements(values: Float64[Tensor, "N"], among: Float64[Tensor, "M"]) -> Tensor:
    """Share of `among` below each value, ties counted half."""
    among = among.sort().values
    below = torch.searchsorted(among, values, right=False)
    up_to = torch.searchsorted(among, values, right=True)
    return (below + up_to).double() / (2 * len(among))


def _kolmogorov_smirnov(near: Float64[Tensor, "N"], scale: Float64[Tensor, "M"]) -> float:
    places = torch.cat([near, scale])
    shares = [
        torch.searchsorted(each.sort().values, places, right=True).double() / len(each)
        for each in (near, scale)
    ]
    return (shares[0] - shares[1]).abs().max().item()


def _memorised(found: Nearest) -> Score:
    first, second = found.distance[:, 0], found.distance[:, 1]
    share = (RATIO * first < second).double().mean().item()
    return Score(share, math.sqrt(share * (1 - share) / len(first)))
