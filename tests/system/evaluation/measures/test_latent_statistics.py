import math

import pytest
import torch

from system.evaluation.measures.latent_statistics import autocorrelation
from system.evaluation.measures.latent_statistics import high_frequency_ratio
from system.evaluation.measures.latent_statistics import spectral_entropy
from system.evaluation.measures.latent_statistics import total_variation

STATISTICS = (spectral_entropy, high_frequency_ratio, total_variation, autocorrelation)


@pytest.fixture(scope="module")
def white():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(200, 64, 16, 16, generator=generator)


@pytest.fixture(scope="module")
def wave():
    """One cosine of two cycles along the rows, in every channel."""
    row = torch.cos(2 * math.pi * 2 * torch.arange(16) / 16)
    return row[:, None].expand(1, 3, 16, 16).contiguous()


def test_white_noise_gives_the_values_of_an_ordinary_autoencoder(white):
    # The tolerances are several standard errors of 200 samples.
    assert spectral_entropy(white).mean().item() == pytest.approx(0.998, abs=5e-4)
    assert high_frequency_ratio(white).mean().item() == pytest.approx(61 / 255, abs=1e-3)
    assert total_variation(white).mean().item() == pytest.approx(2 / math.sqrt(math.pi), abs=2e-3)
    # The mean of 16 cells that is taken out of each row or column leaves a little below zero.
    assert autocorrelation(white).mean().item() == pytest.approx(-0.003, abs=3e-3)


def test_noise_of_half_the_spread_has_half_the_variation(white):
    assert total_variation(0.5 * white).mean().item() == pytest.approx(0.564, abs=1e-3)


def test_a_single_wave_has_two_frequencies_and_none_of_them_is_high(wave):
    entropy = math.log(2) / math.log(256)
    assert spectral_entropy(wave).item() == pytest.approx(entropy, abs=1e-6)
    assert high_frequency_ratio(wave).item() == pytest.approx(0, abs=1e-10)


def test_a_chequerboard_is_all_high_frequency_and_turns_at_every_step():
    cells = torch.arange(8)
    board = ((-1.0) ** (cells[:, None] + cells[None, :]))[None, None]
    assert high_frequency_ratio(board).item() == pytest.approx(1)
    assert spectral_entropy(board).item() == pytest.approx(0, abs=1e-6)
    assert total_variation(board).item() == pytest.approx(2)
    assert autocorrelation(board).item() == pytest.approx(-1, abs=0.02)


def test_a_smooth_field_is_correlated_as_it_was_made():
    generator = torch.Generator().manual_seed(1)
    field = torch.randn(300, 4, 32, 32, generator=generator)
    for axis in (2, 3):  # an autoregression of factor 0.8 along either axis
        cells = field.unbind(dim=axis)
        kept = [cells[0]]
        for cell in cells[1:]:
            kept.append(0.8 * kept[-1] + math.sqrt(1 - 0.8**2) * cell)
        field = torch.stack(kept, dim=axis)
    # Taking the mean out of 32 cells biases it downward: 0.78 to 0.8 within the error of 300.
    assert autocorrelation(field).mean().item() == pytest.approx(0.79, abs=0.02)
    assert high_frequency_ratio(field).mean().item() < 0.02


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_constant_has_no_frequency_and_a_turned_latent_the_same_values(statistic, white):
    assert statistic(torch.full((2, 3, 4, 4), 5.0)).tolist() == [0, 0]
    some = white[:3]
    assert torch.allclose(statistic(some), statistic(some.transpose(2, 3)), atol=1e-6)


@pytest.mark.parametrize("statistic", [one for one in STATISTICS if one is not total_variation])
def test_the_scale_of_a_latent_changes_its_variation_alone(statistic, white):
    assert torch.allclose(statistic(7 * white[:3] + 2), statistic(white[:3]), atol=1e-5)
