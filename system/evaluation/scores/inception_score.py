"""The Inception Score: how sure a classifier is of each image, and how many classes there are.

The score of a split is exp of the mean over its images of KL(p(y | x) | p(y)), p(y) being the mean
of the split's own p(y | x); the score is the mean over splits. It depends on the number of splits
and on the order of the images: classes one after another, in ten splits, give a perfect model of
1,000 classes the score 100, not 1,000. So the order is a permutation, unless images are given in
one that counts.

* ADM's: splits of 5,000 images in the order given, of logits without the classifier's bias.
* torch-fidelity's: 10 splits, order `numpy_order(count, 2020)`.

Computed in float64 from logits, whose softmax has no zeros to take logarithms of.

Source: Salimans et al. 2016, arXiv 1606.03498.
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
from system.foundation import streams
from system.foundation.errors import BadInput

PART = 4096  # rows of probabilities that are computed at once


def inception_score(
    logits: Float[Tensor, "N K"],
    splits: int,
    order: Int[Tensor, "N"] | None = None,
    groups: int = GROUPS,
) -> Estimate:
    """The score of images in this order (None: as given), 1 to the number of classes.

    Its error is the jackknife's over groups of images; the bias of few images belongs to the score,
    so it is not corrected. Raises BadInput where splits would have fewer than `groups` images.
    """
    count, classes = logits.shape
    if count < splits * groups:
        raise BadInput(
            f"found {count} images for {splits} splits; expected at least {groups} in each"
        )
    order = torch.arange(count) if order is None else order
    dealt = jackknife_groups(count, groups)
    size = torch.zeros(splits, groups, dtype=torch.float64)
    share = torch.zeros(splits, groups, classes, dtype=torch.float64)
    certainty = torch.zeros(splits, groups, dtype=torch.float64)  # sum of p log p
    for split in range(splits):
        first, last = split * count // splits, (split + 1) * count // splits
        for start in range(first, last, PART):
            place = range(start, min(start + PART, last))
            log_p = logits[order[place.start : place.stop]].double().log_softmax(dim=1)
            p, group = log_p.exp(), dealt[place.start : place.stop]
            size[split].index_add_(0, group, torch.ones(len(p), dtype=torch.float64))
            share[split].index_add_(0, group, p)
            certainty[split].index_add_(0, group, (p * log_p).sum(dim=1))
    whole = _score(size.sum(dim=1), share.sum(dim=1), certainty.sum(dim=1))
    without = [
        _score(*(total.sum(dim=1) - total[:, group] for total in (size, share, certainty)))
        for group in range(groups)
    ]
    return plain_jackknife(whole, without)


def numpy_order(count: int, seed: int) -> Int[Tensor, "N"]:
    """The permutation that torch-fidelity shuffles by: of NumPy's Mersenne twister."""
    return torch.from_numpy(np.random.RandomState(seed).permutation(count))


def keyed_order(count: int, seed: int) -> Int[Tensor, "N"]:
    """Our own permutation of so many images: a function of the count and the seed."""
    draws = streams.generator(seed, "evaluation/inception_score").random(count)
    return torch.from_numpy(draws.argsort(kind="stable"))


def _score(
    size: Float64[Tensor, "splits"],
    share: Float64[Tensor, "splits K"],
    certainty: Float64[Tensor, "splits"],
) -> float:
    marginal = share / size[:, None]
    divergence = certainty / size + torch.special.entr(marginal).sum(dim=1)
    return divergence.exp().mean().item()
