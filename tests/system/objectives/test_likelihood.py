import math

import pytest
import torch

from system.autoencoder.pixels import PixelSpace
from system.foundation.nouns import Posterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior
from system.objectives.likelihood import bits_per_dim
from system.objectives.likelihood import entropy_per_dim
from system.objectives.likelihood import nats_per_dim


def test_a_standard_normal_has_the_known_nats_and_bits_per_dimension() -> None:
    """Its entropy: 0.5 ln(2 pi e) nats a dimension, 2.047 bits."""
    draw = torch.randn(4000, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_prob = -0.5 * (draw.square().sum(dim=1) + 64 * math.log(2 * math.pi))
    nats = nats_per_dim(log_prob, 64).mean().item()
    assert nats == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=0.006)
    bits = bits_per_dim(-log_prob, 64).mean().item()
    assert bits == pytest.approx(nats / math.log(2))


@pytest.mark.parametrize("std", [0.3, 0.5, 1.0])
def test_the_entropy_of_a_fixed_posterior_is_the_floor_of_the_flow(std: float) -> None:
    posterior = Posterior(torch.zeros(2, 3, 4, 4), torch.tensor(std))
    floor = 0.5 * math.log(2 * math.pi * math.e * std**2)
    assert entropy_per_dim(posterior).item() == pytest.approx(floor, abs=1e-6)


def test_the_entropy_of_a_learned_posterior_is_the_mean_over_its_map() -> None:
    spread = torch.tensor([0.5, 2.0]).expand(2, 3, 4, 2)
    posterior = Posterior(torch.zeros(2, 3, 4, 2), spread)
    assert entropy_per_dim(posterior).item() == pytest.approx(
        0.5 * math.log(2 * math.pi * math.e), abs=1e-6
    )


def test_the_entropy_of_a_uniform_posterior_is_the_logarithm_of_its_width() -> None:
    posterior = Posterior(torch.zeros(1, 1, 2, 2), torch.tensor(0.25 / 12**0.5), "uniform")
    assert entropy_per_dim(posterior).item() == pytest.approx(math.log(0.25), abs=1e-6)


def test_bits_of_an_image_are_those_of_tarflows_evaluation() -> None:
    """There (nll + log 128) / log 2; here what the nll exceeds the entropy by, in bits."""
    posterior = PixelSpace(Pixels(posterior=UniformPosterior())).encode(torch.zeros(1, 1, 2, 2))
    nll = torch.tensor([-3.7])
    ours = bits_per_dim(nll - entropy_per_dim(posterior), 1)
    assert ours.item() == pytest.approx((-3.7 + math.log(128)) / math.log(2), abs=1e-6)
