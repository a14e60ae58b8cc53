import math

import pytest
import torch

from system.evaluation.code_lengths import bound_of
from system.evaluation.code_lengths import bounds_pixels
from system.evaluation.code_lengths import entropy_bits
from system.foundation.nouns import Posterior
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior
from system.objectives.joint import JointModel
from system.objectives.likelihood import entropy_per_dim


def test_a_flat_density_of_pixels_costs_eight_bits_a_value(recipe):
    """Where p is even over [-1, 1] its log2 is -1 a value: -1 of bits + log2(128), which is 8."""
    autoencoder = Pixels(posterior=UniformPosterior())
    levels = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16)
    model = JointModel(recipe.model_copy(update={"autoencoder": autoencoder}))
    posterior = model.autoencoder.encode(levels / 127.5 - 1)
    entropy = entropy_bits(posterior)
    assert entropy.item() == pytest.approx(-math.log2(128), abs=1e-6)
    assert 1.0 - entropy.item() == pytest.approx(8.0, abs=1e-6)
    ends = [posterior.sample(torch.full_like(levels, side)) for side in (-9.0, 9.0)]
    assert ends[0].min().item() == pytest.approx(-1, abs=1e-6)
    assert ends[1].max().item() == pytest.approx(1, abs=1e-6)
    # Bins lie side by side: each ends where the next begins, so that the bound loses nothing.
    torch.testing.assert_close(ends[1].flatten()[:-1], ends[0].flatten()[1:], rtol=0, atol=1e-6)


def test_a_learned_posterior_has_an_entropy_for_every_image():
    std = torch.tensor([[0.1, 0.2], [1.0, 1.0]]).reshape(2, 1, 1, 2)
    found = entropy_bits(Posterior(torch.zeros(2, 1, 1, 2), std))
    unit = 0.5 * math.log2(2 * math.pi * math.e)
    expected = [unit + (math.log2(0.1) + math.log2(0.2)) / 2, unit]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("autoencoder", "words"),
    [
        (Pixels(posterior=UniformPosterior()), "upper bound on the bits"),
        (Pixels(posterior=FixedPosterior(std=0.05)), "no bound on bits of pixels"),
    ],
)
def test_the_bound_is_said_for_what_it_is(autoencoder, words):
    assert words in bound_of(autoencoder)


def test_the_mean_of_the_entropies_is_that_of_the_objective():
    std = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0)) + 0.1
    posterior = Posterior(torch.zeros(5, 3, 2, 2), std)
    nats = entropy_bits(posterior).mean().item() * math.log(2)
    assert nats == pytest.approx(entropy_per_dim(posterior).item(), abs=1e-6)


def test_an_autoencoder_bounds_no_pixels():
    assert not bounds_pixels(Convolutional(multipliers=(1, 2), latent_channels=2))
    assert bounds_pixels(Pixels(posterior=UniformPosterior(bins=17)))
    assert "17 levels" in bound_of(Pixels(posterior=UniformPosterior(bins=17)))
