"""Posteriors of the held-out images, and the noise that belongs to each of them."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from system.evaluation.measures.bench import Bench
from system.foundation import streams
from system.foundation.nouns import Posterior


@torch.no_grad()
def held_out_posteriors(bench: Bench) -> Iterator[tuple[range, Posterior]]:
    """The held-out images in batches: their indices, and what the encoder says of them."""
    count, batch = len(bench.held_out.label), bench.settings.batch
    for start in range(0, count, batch):
        index = range(start, min(start + batch, count))
        image = bench.held_out.image[index.start : index.stop].to(bench.subject.device)
        yield index, bench.subject.model.autoencoder.encode(image.float() / 127.5 - 1)


def latent_noise(bench: Bench, index: range, draw: int) -> Float[Tensor, "B C h w"]:
    """Standard normal noise of the images' `draw`-th latents: a function of (seed, draw, image)."""
    recipe = bench.subject.recipe
    shape = (recipe.latent_channels, recipe.latent_size, recipe.latent_size)
    noise = streams.normal(bench.settings.seed, f"evaluation/latent/{draw}", index, shape)
    return noise.to(bench.subject.device)
