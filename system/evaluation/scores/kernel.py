"""The kernel distance (KID): the squared maximum mean discrepancy under a cubic kernel.

k(x, y) = (x . y / F + 1)^3. The estimate has no bias: means over pairs of images leave out those of
an image with itself. So it may be negative, and is not cut off there. It is taken over all images
or, as is usual, over random subsets of both sets; the mean of these only adds noise.

Source: Binkowski et al. 2018, arXiv 1801.01401.
"""

import numpy as np
import torch
from jaxtyping import Float
from jaxtyping import Float64
from jaxtyping import Int
from torch import Tensor

from system.evaluation.scores.jackknife import GROUPS
from system.evaluation.scores.jackknife import Estimate
from system.evaluation.scores.jackknife import jackknife_groups
from system.evaluation.scores.jackknife import plain_jackknife
from system.foundation.errors import BadInput

CHUNK = 2048  # rows of a kernel matrix that are computed at once


def kernel_distance(
    real: Float[Tensor, "M F"],
    fake: Float[Tensor, "N F"],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> Estimate:
    """The mean over random subsets, drawn as torch-fidelity draws them from this seed.

    Its error is the jackknife's over groups of `fake`; `real` is taken as it is. Raises BadInput
    where a set is smaller than a subset or a subset smaller than twice the number of groups.
    """
    _refuse(real, fake, subset_size)
    dealt = jackknife_groups(len(fake))
    draws = np.random.RandomState(seed)
    values = torch.zeros(GROUPS + 1, dtype=torch.float64)
    for _ in range(subsets):
        of_fake = torch.from_numpy(draws.choice(len(fake), subset_size, replace=False))
        of_real = torch.from_numpy(draws.choice(len(real), subset_size, replace=False))
        values += _values(real[of_real], fake[of_fake], dealt[of_fake])
    whole, *without = (values / subsets).tolist()
    return plain_jackknife(whole, without)


def full_kernel_distance(real: Float[Tensor, "M F"], fake: Float[Tensor, "N F"]) -> Estimate:
    """The same over all pairs of both sets, without subsets: no draw, and the smallest error."""
    _refuse(real, fake, 2)
    whole, *without = _values(real, fake, jackknife_groups(len(fake))).tolist()
    return plain_jackknife(whole, without)


def _values(
    real: Float[Tensor, "M F"], fake: Float[Tensor, "N F"], dealt: Int[Tensor, "N"]
) -> Float64[Tensor, "values"]:
    """The distance with all of `fake`, and with each group left out."""
    real, fake = real.double(), fake.double()
    groups = GROUPS
    member = torch.nn.functional.one_hot(dealt, groups).double()
    size = member.sum(dim=0)
    among_real = sum(_kernel(rows, real).sum() for rows in real.split(CHUNK)) - _own(real).sum()
    across = torch.zeros(groups, dtype=torch.float64)
    among = -torch.diag(member.T @ _own(fake))
    for rows, belongs in zip(fake.split(CHUNK), member.split(CHUNK), strict=True):
        among += belongs.T @ (_kernel(rows, fake) @ member)
        across += belongs.T @ _kernel(rows, real).sum(dim=1)
    kept = torch.cat([torch.ones(1, groups), 1 - torch.eye(groups)]).double()
    count, total = kept @ size, len(real)
    pairs = torch.einsum("vg, gh, vh -> v", kept, among, kept) / (count * (count - 1)).clamp_min(1)
    return pairs + among_real / (total * (total - 1)) - 2 * (kept @ across) / (count * total)


def _kernel(
    first: Float64[Tensor, "A F"], second: Float64[Tensor, "B F"]
) -> Float64[Tensor, "A B"]:
    return (first @ second.T / first.shape[1] + 1) ** 3


def _own(features: Float64[Tensor, "A F"]) -> Float64[Tensor, "A"]:
    """The kernel of every image with itself."""
    return (features.square().sum(dim=1) / features.shape[1] + 1) ** 3


def _refuse(real: Float[Tensor, "M F"], fake: Float[Tensor, "N F"], least: int) -> None:
    for name, features in (("real", real), ("drawn", fake)):
        if len(features) < least:
            raise BadInput(
                f"found {len(features)} {name} images for a kernel distance; expected at least "
                f"{least}. Give more, or take smaller subsets"
            )
