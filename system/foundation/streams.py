"""Randomness as a function of (seed, stream name, position): no global generator anywhere.

Philox is counter-based: the draw for position n is reached directly, without drawing the n before
it. So a resumed run continues with the same numbers, and a sample meets the same noise on any
number of workers.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor


def generator(seed: int, stream: str, position: int = 0) -> np.random.Generator:
    """The generator that belongs to one position of one named stream."""
    key = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=16).digest()
    # The position sits in the third counter word: Philox itself counts up in the first.
    return np.random.Generator(
        np.random.Philox(
            key=np.frombuffer(key, np.uint64), counter=np.array([0, 0, position, 0], np.uint64)
        )
    )


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
