"""What a model's encoder says of 8-bit images, and the noise that belongs to each latent."""

import torch
from jaxtyping import Float
from jaxtyping import UInt8
from torch import Tensor

from system.evaluation.subject import Subject
from system.foundation import streams
from system.foundation.nouns import Posterior


@torch.no_grad()
def encode(subject: Subject, image: UInt8[Tensor, "B C H W"]) -> Posterior:
    """The posterior of each image's latent."""
    return subject.model.autoencoder.encode(image.to(subject.device).float() / 127.5 - 1)


def latent_noise(subject: Subject, seed: int, index: range, draw: int) -> Float[Tensor, "B C h w"]:
    """Standard normal noise of the images' `draw`-th latents: a function of (seed, draw, image)."""
    recipe = subject.recipe
    shape = (recipe.latent_channels, recipe.latent_size, recipe.latent_size)
    noise = streams.normal(seed, f"evaluation/latent/{draw}", index, shape)
    return noise.to(subject.device)
