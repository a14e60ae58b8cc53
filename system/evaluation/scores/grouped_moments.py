"""The moments of every group of a set, from which distances to one reference are made for any of
the groups together.

With a factor of the reference's covariance, factor factor^T = S_ref, all that a Frechet distance
needs of a set is its mean, the trace of its covariance S, and factor^T S factor. These are added up
for each group once, in half the memory of square matrices: 20 groups of 2048 features take 336 MB.

Fewer images than features leave most of these coordinates empty: they are then looked at in as many
coordinates as there are images, where eigenvalue problems are as small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Float64
from torch import Tensor

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.jackknife import jackknife_groups
from system.foundation.errors import BadInput


@dataclass(frozen=True, slots=True, eq=False)
class InnerMoments:
    """What a distance needs of a set: `inner` is factor^T S factor."""

    count: int
    mean: Float64[Tensor, "F"]
    trace: float
    inner: Float64[Tensor, "R R"]


@dataclass(frozen=True, slots=True, eq=False)
class GroupedMoments:
    """Sums of every group's deviations from its own mean."""

    reference: Factored
    count: Float64[Tensor, "G"]
    mean: Float64[Tensor, "G F"]
    trace: Float64[Tensor, "G"]
    scatter: Float64[Tensor, "G P"]  # of features times factor: the lower triangle, row by row

    @classmethod
    def of(
        cls, features: Float[Tensor, "N F"], reference: Factored, groups: int
    ) -> "GroupedMoments":
        """Deal the images to groups and add each group up. Raises BadInput for too few images."""
        if len(features) < 2 * groups:
            raise BadInput(
                f"found {len(features)} images for {groups} groups of a jackknife; expected at "
                f"least {2 * groups}"
            )
        reference = _reached(reference, features)
        dealt, (width, rank) = jackknife_groups(len(features), groups), reference.factor.shape
        row, column = torch.tril_indices(rank, rank)
        held = cls(
            reference,
            torch.bincount(dealt, minlength=groups).double(),
            torch.empty(groups, width, dtype=torch.float64),
            torch.empty(groups, dtype=torch.float64),
            torch.empty(groups, len(row), dtype=torch.float64),
        )
        for group in range(groups):
            part = features[dealt == group].double()
            held.mean[group] = part.mean(dim=0)
            part -= held.mean[group]
            held.trace[group] = part.square().sum()
            seen = part @ reference.factor
            held.scatter[group] = (seen.T @ seen)[row, column]
        return held

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.count)

    def merged(self, chosen: Sequence[int]) -> InnerMoments:
        """The moments of these groups' images together."""
        index = list(chosen)
        count = self.count[index]
        total = count.sum()
        mean = (count / total) @ self.mean[index]
        step = self.mean[index] - mean
        packed = self.scatter[index[0]].clone()
        for group in index[1:]:
            packed += self.scatter[group]
        rank = self.reference.factor.shape[1]
        row, column = torch.tril_indices(rank, rank)
        inner = torch.zeros(rank, rank, dtype=torch.float64)
        inner[row, column] = packed
        inner += inner.tril(-1).T
        seen = step @ self.reference.factor
        inner += (seen.T * count) @ seen
        trace = self.trace[index].sum() + count @ step.square().sum(dim=1)
        inner /= total - 1
        return InnerMoments(int(total), mean, (trace / (total - 1)).item(), inner)

    def distance(self, chosen: Sequence[int]) -> float:
        """The Frechet distance of these groups' images to the reference."""
        found, reference = self.merged(chosen), self.reference
        cross = reference.roots(found.inner, found.count).sum().item()
        shift = (found.mean - reference.statistics.mean).square().sum().item()
        return shift + found.trace + reference.statistics.covariance.trace().item() - 2 * cross


def _reached(reference: Factored, features: Float[Tensor, "N F"]) -> Factored:
    """The reference's factor in the coordinates that these images reach, where they are few.

    Whatever images of these are together, factor^T S factor has the same eigenvalues but for zeros.
    """
    if len(features) >= reference.factor.shape[1]:
        return reference
    deviation = features.double() - features.double().mean(dim=0)
    coordinates = torch.linalg.qr((deviation @ reference.factor).T).Q
    return Factored(reference.statistics, reference.factor @ coordinates)
