"""The records that cross room boundaries, and the shape alphabet.

`B` batch · `H W` image · `h w` latent grid · `C` channels · `T` tokens · `D` numbers per token ·
`E` transformer width · `N` heads · `K` head width · `F` feature width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Literal

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Decoded samples of one rank for one micro-step.

    `position` is each sample's place in the run's stream: the number of images the run had seen
    before it. Every random draw that concerns a sample is a function of it, so a draw does not
    depend on how the global batch was cut over ranks and micro-steps. `features` are what frozen
    networks make of each image, as it is, where that was computed before.
    """

    image: Float[Tensor, "B C H W"]  # values in [-1, 1]
    label: Int[Tensor, "B"]
    position: Int[Tensor, "B"]
    key: tuple[str, ...]
    features: Mapping[str, Float[Tensor, "B ..."]] = field(default_factory=dict)  # by name


@dataclass(frozen=True, slots=True)
class Posterior:
    """q(z given x) with independent entries: mean and standard deviation of a Gaussian, or of a
    uniform distribution. `std` may be one number or a map."""

    mean: Float[Tensor, "B C h w"]
    std: Float[Tensor, "..."]
    family: Literal["gaussian", "uniform"] = "gaussian"

    def sample(self, noise: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """A draw, given standard normal noise (reparametrisation).

        A uniform draw is the noise's quantile in [0, 1), so one stream of noise serves both.
        """
        if self.family == "gaussian":
            return self.mean + self.std * noise
        below_one = 1 - torch.finfo(noise.dtype).eps / 2
        quantile = torch.special.ndtr(noise).clamp(max=below_one)
        return self.mean + self.std * math.sqrt(12) * (quantile - 0.5)
