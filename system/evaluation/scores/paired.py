"""How far two estimates are apart that were made of the same noise: their errors largely cancel.

Image i of both sets is a function of the same noise and label, and belongs to the same group of the
jackknife. So the values without a group go up and down together, and the error of the difference is
the jackknife's of these differences: small where two ways to draw give nearly the same images.
"""

from collections.abc import Sequence
from typing import NamedTuple

from system.evaluation.scores.jackknife import Estimate
from system.evaluation.scores.jackknife import jackknife


class Difference(NamedTuple):
    """The corrected value of one less that of another, and its standard error."""

    value: float
    standard_error: float


def paired_difference(first: Sequence[Estimate], second: Sequence[Estimate]) -> Difference:
    """The mean of `first` less that of `second`.

    Members of one sequence are of different images; a member of `first` and the one of `second` in
    its place are of the same numbers of images, dealt to the same groups.
    """
    value, variance, count = 0.0, 0.0, len(first)
    for one, other in zip(first, second, strict=True):
        assert len(one.without) == len(other.without) > 1, "no groups to pair"
        pairs = zip(one.without, other.without, strict=True)
        paired = jackknife(one.value - other.value, [mine - theirs for mine, theirs in pairs])
        value += (one.corrected - other.corrected) / count
        variance += (paired.standard_error / count) ** 2
    return Difference(value, variance**0.5)
