"""The records that cross room boundaries, and the shape alphabet.

`B` batch · `H W` image · `h w` latent grid · `C` channels · `T` tokens · `D` numbers per token ·
`E` transformer width · `N` heads · `K` head width · `F` feature width.
"""

from dataclasses import dataclass

from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Decoded samples of one rank for one micro-step.

    `position` is each sample's place in the run's stream: the number of images the run had seen
    before it. Every random draw that concerns a sample is a function of it, so a draw does not
    depend on how the global batch was cut over ranks and micro-steps.
    """

    image: Float[Tensor, "B C H W"]  # values in [-1, 1]
    label: Int[Tensor, "B"]
    position: Int[Tensor, "B"]
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the stream of training samples, enough to resume at any world size."""

    images_seen: int
    seed: int
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class Posterior:
    """q(z given x), a Gaussian with independent entries. `std` may be one number or a map."""

    mean: Float[Tensor, "B C h w"]
    std: Float[Tensor, "..."]

    def sample(self, noise: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """A draw, given standard normal noise (reparametrisation)."""
        return self.mean + self.std * noise
