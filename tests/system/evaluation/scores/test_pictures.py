"""Pixel scores against values known by hand, and against TorchMetrics."""

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from system.evaluation.scores.pictures import peak_signal_to_noise
from system.evaluation.scores.pictures import structural_similarity
from system.foundation.errors import BadInput


def test_psnr_of_one_level_everywhere():
    image = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    value = peak_signal_to_noise(image + 1, image)
    assert value.tolist() == pytest.approx([48.1308, 48.1308], abs=1e-4)
    assert peak_signal_to_noise(image, image)[0].item() == pytest.approx(100)
    mixed = image.clone()
    mixed[0] += 1
    mixed[1] += 10  # squared errors 1 and 100: the mean of decibels, not the decibels of the mean
    assert peak_signal_to_noise(mixed, image).mean().item() == pytest.approx(38.13, abs=0.01)


def test_floats_of_a_decoder_have_the_same_scores_as_their_bytes():
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, 3, 16, 16)
    image, original = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    shown = [one.double() / 127.5 - 1 for one in (image, original)]
    for score in (peak_signal_to_noise, structural_similarity):
        torch.testing.assert_close(score(*shown), score(image, original), rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("one", "other", "expected"), [(0.2, 0.4, 0.800100), (0.5, 0.6, 0.983609), (0, 1, 0.0001)]
)
def test_ssim_of_constant_images(one, other, expected):
    images = [torch.full((1, 3, 16, 16), 2 * value - 1.0) for value in (one, other)]
    assert structural_similarity(*images).item() == pytest.approx(expected, abs=1e-6)


def test_ssim_of_an_image_with_itself_is_one_and_it_is_symmetric():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand((2, 2, 3, 20, 20), generator=generator) * 2 - 1
    assert structural_similarity(one, one).tolist() == pytest.approx([1, 1], abs=1e-12)
    torch.testing.assert_close(
        structural_similarity(one, other), structural_similarity(other, one), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_torchmetrics_finds_the_same_ssim(channels):
    generator = torch.Generator().manual_seed(3)
    original = torch.rand((5, channels, 24, 32), generator=generator, dtype=torch.float64)
    noise = torch.rand(original.shape, generator=generator, dtype=torch.float64)
    image = 0.8 * original + 0.2 * noise
    theirs = structural_similarity_index_measure(
        image, original, gaussian_kernel=True, sigma=1.5, data_range=1.0, reduction="none"
    )
    ours = structural_similarity(2 * image - 1, 2 * original - 1)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=0)


def test_images_that_cannot_be_reflected_are_refused():
    small = torch.zeros(1, 1, 8, 5, dtype=torch.uint8)
    with pytest.raises(BadInput, match="8x5 pixels; SSIM needs at least 6x6"):
        structural_similarity(small, small)
