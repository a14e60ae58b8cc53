"""White noise, single waves and autoregressive fields, as the published analysis has them."""

import math

import pytest
import torch

from system.evaluation.measures.standard_statistics import autocorrelation
from system.evaluation.measures.standard_statistics import high_frequency_ratio_box
from system.evaluation.measures.standard_statistics import high_frequency_ratio_radial
from system.evaluation.measures.standard_statistics import spectral_entropy
from system.evaluation.measures.standard_statistics import total_variation

STATISTICS = (
    spectral_entropy,
    high_frequency_ratio_radial,
    high_frequency_ratio_box,
    total_variation,
    autocorrelation,
)


def white(size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(400, 8, size, size, generator=generator)


def autoregressive(size: int, factor: float = 0.8) -> torch.Tensor:
    """Fields whose rows and columns are each an autoregression of first order."""
    field = white(size)
    for axis in (2, 3):
        cells = field.unbind(dim=axis)
        kept = [cells[0]]
        for cell in cells[1:]:
            kept.append(factor * kept[-1] + math.sqrt(1 - factor**2) * cell)
        field = torch.stack(kept, dim=axis)
    return field


# Tolerances are a few standard errors of 400 fields. Taking out the mean of a map itself raises
# the total variation of white noise, 2 / sqrt(pi), by 1/512 of it on 16x16 cells.
@pytest.mark.parametrize(
    ("size", "entropy", "radial", "box", "variation", "correlation"),
    [(16, 0.924, 0.8118, 0.6863, 1.1306, -0.003), (32, 0.939, 0.8084, 0.7185, 1.1289, -0.001)],
)
def test_white_noise(size, entropy, radial, box, variation, correlation):
    field = white(size)
    expected = (entropy, radial, box, variation, correlation)
    found = [statistic(field).mean().item() for statistic in STATISTICS]
    assert found == pytest.approx(expected, abs=2.5e-3)


@pytest.mark.parametrize(
    ("size", "entropy", "radial", "variation", "correlation"),
    [(16, 0.684, 0.228, 0.568, 0.737), (32, None, 0.182, 0.526, 0.780)],
)
def test_an_autoregression_of_factor_0_8(size, entropy, radial, variation, correlation):
    field = autoregressive(size)
    if entropy is not None:
        assert spectral_entropy(field).mean().item() == pytest.approx(entropy, abs=0.01)
    assert high_frequency_ratio_radial(field).mean().item() == pytest.approx(radial, abs=0.01)
    assert total_variation(field).mean().item() == pytest.approx(variation, abs=0.01)
    assert autocorrelation(field).mean().item() == pytest.approx(correlation, abs=0.01)


def test_a_single_wave_has_two_frequencies():
    row = torch.cos(2 * math.pi * 2 * torch.arange(16) / 16)
    wave = row[:, None].expand(1, 3, 16, 16)
    assert spectral_entropy(wave).item() == pytest.approx(math.log(2) / math.log(255), abs=1e-6)
    assert high_frequency_ratio_radial(wave).item() == pytest.approx(0, abs=1e-10)


def test_a_share_of_power_is_the_variance_of_what_passes_the_filter():
    field = white(16)[:4].double()
    rows = torch.fft.fftfreq(16, dtype=torch.float64)
    is_high = torch.maximum(rows[:, None].abs(), rows[None, :].abs()) > 0.25
    passed = torch.fft.ifft2(torch.fft.fft2(field) * is_high).real
    share = passed.var(dim=(2, 3)) / field.var(dim=(2, 3))
    torch.testing.assert_close(high_frequency_ratio_box(field), share.mean(dim=1))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_neither_scale_nor_turning_nor_other_channels_change_a_value(statistic):
    some = autoregressive(16)[:3, :2]
    value = statistic(some)
    scale = torch.tensor([3.0, 70.0])[None, :, None, None]  # each channel its own
    torch.testing.assert_close(statistic(scale * some + 2), value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(statistic(some.transpose(2, 3)), value)
    alone = [statistic(channel) for channel in some.split(1, dim=1)]
    torch.testing.assert_close(torch.stack(alone).mean(dim=0), value)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_constant_has_none(statistic):
    assert statistic(torch.full((2, 3, 4, 4), 5.0)).tolist() == [0, 0]
