"""What keeps a set of named tensors from being the one that is wanted: all of it, none ignored."""

from collections.abc import Mapping

import torch
from torch import Tensor


def differences(expected: Mapping[str, torch.Size], found: Mapping[str, object]) -> list[str]:
    """One line for each name that is missing, unknown, of another shape, or no tensor of numbers.

    Empty where the two agree in every name and shape.
    """
    lines = [f"missing: {name} {_shape(expected[name])}" for name in expected if name not in found]
    for name, value in found.items():
        if not isinstance(value, Tensor):
            lines.append(f"no tensor: {name} is {type(value).__name__}")
        elif name not in expected:
            lines.append(f"unknown: {name} {_shape(value.shape)}")
        elif value.shape != expected[name]:
            lines.append(
                f"misshapen: {name} is {_shape(value.shape)}, expected {_shape(expected[name])}"
            )
        elif not value.is_floating_point():
            lines.append(f"no floating-point numbers: {name} is {value.dtype}")
    return lines


def listed(problems: list[str]) -> str:
    """The lines below one another, indented, for the end of a message."""
    return "".join(f"\n  {problem}" for problem in problems)


def _shape(shape: torch.Size) -> str:
    return "x".join(str(length) for length in shape) or "a scalar"
