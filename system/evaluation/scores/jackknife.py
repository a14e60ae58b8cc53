"""The delete-one-group jackknife: a value's standard error, and its bias of few samples taken out.

The images of a set are dealt to groups so that classes are spread over groups in whatever order the
images come: of every 20 consecutive images, one goes to each of 20 groups, by a permutation of its
own. (Every 20th image would put images whose label is their number modulo 1,000 into groups with 50
classes each; runs of images would do that to a folder sorted by class.)

Source: Quenouille 1956, "Notes on bias in estimation"; Tukey 1958.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from scipy.special import stdtrit
from torch import Tensor

from system.foundation import streams

GROUPS = 20
COVERAGE = 0.95  # of an interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its jackknife: bias-corrected value, standard error, and an interval.

    In 95 of 100 cases the interval covers what the value would be with images without end.
    """

    value: float
    corrected: float
    standard_error: float
    interval: tuple[float, float]
    without: tuple[float, ...] = ()  # the values with one group left out each; none of a mean's


def jackknife_groups(count: int, groups: int = GROUPS) -> Int[Tensor, "N"]:
    """The group of each of `count` images: a function of the image's number and `groups` alone."""
    rows = -(-count // groups)
    order = streams.generator(0, f"evaluation/jackknife/{groups}").random((rows, groups))
    return torch.from_numpy(order.argsort(axis=1, kind="stable").reshape(-1)[:count])


def jackknife(value: float, without: Sequence[float]) -> Estimate:
    """Standard error and bias correction from the values with one group left out each."""
    groups = len(without)
    left_out = sum(without) / groups
    corrected = groups * value - (groups - 1) * left_out
    return _estimate(value, corrected, without)


def plain_jackknife(value: float, without: Sequence[float]) -> Estimate:
    """The same of a score that has no bias, or whose bias is part of its definition."""
    return _estimate(value, value, without)


def reach(groups: int) -> float:
    """How many standard errors of so many groups an interval reaches: Student's t."""
    return float(stdtrit(groups - 1, (1 + COVERAGE) / 2))


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates: errors, and each side of the intervals, add as squares."""
    count = len(estimates)
    corrected = sum(one.corrected for one in estimates) / count
    below = sum((one.corrected - one.interval[0]) ** 2 for one in estimates) ** 0.5 / count
    above = sum((one.interval[1] - one.corrected) ** 2 for one in estimates) ** 0.5 / count
    return Estimate(
        value=sum(one.value for one in estimates) / count,
        corrected=corrected,
        standard_error=sum(one.standard_error**2 for one in estimates) ** 0.5 / count,
        interval=(corrected - below, corrected + above),
    )


def _estimate(value: float, corrected: float, without: Sequence[float]) -> Estimate:
    groups = len(without)
    assert groups > 1, "the jackknife needs at least two groups"
    left_out = torch.tensor(without, dtype=torch.float64)
    spread = (left_out - left_out.mean()).square().sum()
    error = ((groups - 1) / groups * spread).sqrt().item()
    far = reach(groups) * error
    return Estimate(value, corrected, error, (corrected - far, corrected + far), tuple(without))
