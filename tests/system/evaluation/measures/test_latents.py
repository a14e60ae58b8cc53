from dataclasses import replace

import torch

from system.evaluation.measures.latents import held_out_posteriors
from system.evaluation.measures.latents import latent_noise


def test_every_held_out_image_is_encoded_once_whatever_the_batch(bench) -> None:
    means = []
    for batch in (256, 7):
        cut = replace(bench, settings=bench.settings.model_copy(update={"batch": batch}))
        parts = list(held_out_posteriors(cut))
        assert [i for index, _ in parts for i in index] == list(range(len(bench.held_out.label)))
        means.append(torch.cat([posterior.mean for _, posterior in parts]))
    assert torch.equal(*means)


def test_noise_belongs_to_image_and_draw(bench) -> None:
    together = latent_noise(bench, range(4), 1)
    recipe = bench.subject.recipe
    side = recipe.latent_size
    assert together.shape == (4, recipe.autoencoder.latent_channels, side, side)
    assert torch.equal(together[2:3], latent_noise(bench, range(2, 3), 1))
    assert not torch.equal(together, latent_noise(bench, range(4), 2))
