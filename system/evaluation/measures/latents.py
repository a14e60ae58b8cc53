"""Posteriors of the held-out images, and the noise that belongs to each of them."""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from system.evaluation import encoding
from system.evaluation.measures.bench import Bench
from system.evaluation.passes import PASS
from system.foundation.nouns import Posterior


def held_out_posteriors(bench: Bench) -> Iterator[tuple[range, Posterior]]:
    """The held-out images in passes of a fixed size: their indices, and what the encoder says."""
    count = len(bench.held_out.label)
    for start in range(0, count, PASS):
        index = range(start, min(start + PASS, count))
        image = bench.held_out.image[index.start : index.stop]
        yield index, encoding.encode(bench.subject, image)


def latent_noise(bench: Bench, index: range, draw: int) -> Float[Tensor, "B C h w"]:
    """Standard normal noise of the images' `draw`-th latents: a function of (seed, draw, image)."""
    return encoding.latent_noise(bench.subject, bench.settings.seed, index, draw)
