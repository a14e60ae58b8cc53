"""Pixel scores against values known by hand."""

import pytest
import torch

from system.evaluation.scores.pictures import peak_signal_to_noise


def test_psnr_of_one_level_everywhere():
    image = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    value = peak_signal_to_noise(image + 1, image)
    assert value.tolist() == pytest.approx([48.1308, 48.1308], abs=1e-4)
    assert peak_signal_to_noise(image, image)[0].item() == pytest.approx(100)
    mixed = image.clone()
    mixed[0] += 1
    mixed[1] += 10  # squared errors 1 and 100: the mean of decibels, not the decibels of the mean
    assert peak_signal_to_noise(mixed, image).mean().item() == pytest.approx(38.13, abs=0.01)
