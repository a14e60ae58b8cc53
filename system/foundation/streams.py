"""Randomness as a function of (seed, stream name, position): no global generator anywhere.

A resumed run continues with the same numbers, and a sample meets the same noise on any number of
workers; `philox` says how.
"""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor

from system.foundation.philox import generator


def normal(
    seed: int, stream: str, positions: Iterable[int], shape: tuple[int, ...]
) -> Float[Tensor, "B ..."]:
    """Standard normal draws in float32, one of `shape` for each position."""
    draws = [generator(seed, stream, p).standard_normal(shape, np.float32) for p in positions]
    return torch.from_numpy(np.stack(draws))


def uniform(seed: int, stream: str, positions: Iterable[int]) -> Float[Tensor, "B"]:
    """Uniform draws in [0, 1), float64, one for each position."""
    return torch.tensor(
        [generator(seed, stream, p).random() for p in positions], dtype=torch.float64
    )


def integers(seed: int, stream: str, positions: Iterable[int], high: int) -> Int[Tensor, "B"]:
    """Uniform integers in [0, high), one for each position."""
    return torch.tensor([int(generator(seed, stream, p).integers(high)) for p in positions])
