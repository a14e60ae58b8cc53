"""The generator that belongs to one position of one named stream of randomness.

Philox is counter-based: the draw for position n is reached directly, without drawing the n before
it. Nothing here needs torch, so decoding processes start at once.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

import hashlib

import numpy as np


def generator(seed: int, stream: str, position: int = 0) -> np.random.Generator:
    """The generator that belongs to one position of one named stream."""
    key = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=16).digest()
    # The position sits in the third counter word: Philox itself counts up in the first.
    return np.random.Generator(
        np.random.Philox(
            key=np.frombuffer(key, np.uint64), counter=np.array([0, 0, position, 0], np.uint64)
        )
    )
