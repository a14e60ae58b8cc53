"""Features of Inception: images a second through the detector that gFID is measured with."""

from dataclasses import dataclass
from functools import partial

import torch

from system.evaluation.detectors.inception import InceptionDetector
from system.evaluation.detectors.inception_network import InceptionNetwork
from tests.benchmarks.parts.ceiling import elapsed
from tests.benchmarks.parts.ceiling import measured_ceiling
from tests.benchmarks.parts.training import counted


@dataclass(frozen=True, slots=True)
class Looking:
    """Seconds of each round, and what they are to be compared with."""

    seconds: list[float]
    images: int
    flops: int
    ceiling: float  # operations a second of products of matrices in float32


def looking(images: int, side: int, rounds: int) -> Looking:
    """Images of a size brought to Inception's and looked at, on a GPU where there is one. Weights
    are as they are made, which changes no operation."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    detector = InceptionDetector(
        InceptionNetwork(), digest="", resize="tf1_bilinear", device=device.type
    )
    shown = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8)
    look = partial(detector.look, shown)
    flops = counted(look)  # which also warms up
    ceiling = measured_ceiling(torch.float32, device)
    return Looking([elapsed(look, device) for _ in range(rounds)], images, flops, ceiling)
