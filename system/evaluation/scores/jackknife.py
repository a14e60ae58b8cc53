"""The delete-one-group jackknife: a value's standard error, and its bias of few samples taken out.

Source: Quenouille 1956, "Notes on bias in estimation"; Tukey 1958.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its jackknife: bias-corrected value and standard error."""

    value: float
    corrected: float
    standard_error: float


def jackknife(value: float, without: Sequence[float]) -> Estimate:
    """Standard error and bias correction from the values with one group left out each."""
    groups = len(without)
    assert groups > 1, "the jackknife needs at least two groups"
    left_out = torch.tensor(without, dtype=torch.float64)
    spread = (left_out - left_out.mean()).square().sum()
    return Estimate(
        value=value,
        corrected=groups * value - (groups - 1) * left_out.mean().item(),
        standard_error=((groups - 1) / groups * spread).sqrt().item(),
    )
