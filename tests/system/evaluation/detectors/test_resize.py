"""Section 6 E of the reference on evaluation, and each rule beside the code that defined it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from system.evaluation.detectors.resize import RULES
from system.evaluation.detectors.resize import resized

SIDE = 299
BILINEAR = ("tf1_bilinear", "bilinear", "bilinear_antialias")
RESIZING = sorted(set(RULES) - {"none"})


def ramp():
    """A level a column: 0 to 255 over 256 columns."""
    return torch.arange(256, dtype=torch.uint8).expand(1, 3, 256, 256)


def noise(height, width):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, height, width), generator=generator, dtype=torch.uint8)


def test_tf1_has_no_half_pixel_centres():
    wanted = (torch.arange(SIDE, dtype=torch.float64) * 256 / SIDE).clamp_max(255)
    found = resized(ramp(), SIDE, "tf1_bilinear", torch.float64)
    # The scale is a float32, as in TensorFlow: 299 steps of it are off by 1e-5 at most.
    assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("rule", ["bilinear", "bilinear_antialias"])
def test_the_others_have(rule):
    place = (torch.arange(SIDE, dtype=torch.float64) + 0.5) * 256 / SIDE - 0.5
    found = resized(ramp(), SIDE, rule, torch.float64)
    assert (found - place.clamp(0, 255)).abs().max() < 1e-4


def test_rows_are_columns_of_the_turned_image():
    found = resized(ramp().mT, SIDE, "tf1_bilinear")
    assert torch.equal(found.mT, resized(ramp(), SIDE, "tf1_bilinear"))


@pytest.mark.parametrize("size", [(64, 64), (256, 256), (299, 299), (512, 512), (100, 333)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tf1_equals_torch_fidelity_bit_by_bit(size, dtype):
    image = noise(*size)
    wanted = interpolate_bilinear_2d_like_tensorflow1x(
        image.to(dtype), size=(SIDE, SIDE), align_corners=False
    )
    assert torch.equal(resized(image, SIDE, "tf1_bilinear", dtype), wanted)


@pytest.mark.parametrize("rule", RESIZING)
@pytest.mark.parametrize("size", [64, 512])
def test_constants_stay(rule, size):
    image = torch.full((1, 3, size, size), 137, dtype=torch.uint8)
    # Weights of a filter sum to one only to rounding.
    assert (resized(image, SIDE, rule) - 137).abs().max() < 1e-3


@pytest.mark.parametrize("rule", RESIZING)
def test_every_rule_gives_the_size_asked_for(rule):
    found = resized(noise(40, 30), 56, rule)
    assert found.shape == (2, 3, 56, 56)
    assert found.dtype == torch.float32


def test_antialiasing_changes_only_what_shrinks():
    grown = noise(256, 256)
    difference = resized(grown, SIDE, "bilinear_antialias") - resized(grown, SIDE, "bilinear")
    assert difference.abs().max() < 1e-3
    shrunk = noise(512, 512)
    difference = resized(shrunk, SIDE, "bilinear_antialias") - resized(shrunk, SIDE, "bilinear")
    assert difference.abs().max() > 10


def test_antialiased_bilinear_is_pillows():
    image = noise(512, 512)
    channel = image[0, 0].float().numpy()
    wanted = Image.fromarray(channel).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    found = resized(image, SIDE, "bilinear_antialias")[0, 0]
    assert np.abs(found.numpy() - np.asarray(wanted)).max() < 1e-2  # its weights are float32


def test_pillows_bicubic_keeps_channels_apart_and_levels_within_bounds():
    image = noise(100, 333)
    channel = image[1, 2].float().numpy()
    wanted = Image.fromarray(channel).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    found = resized(image, SIDE, "pil_bicubic")
    assert np.array_equal(found[1, 2].numpy(), np.asarray(wanted).clip(0, 255))
    assert np.asarray(wanted).min() < 0  # so that the clipping has something to do
    assert (found != found.round()).any()  # unrounded


def test_torchs_bicubic_is_pillows_without_the_clipping():
    image = noise(512, 512)
    found = resized(image, SIDE, "bicubic_antialias")
    assert found.min() < 0
    assert (found.clamp(0, 255) - resized(image, SIDE, "pil_bicubic")).abs().max() < 1e-2


def test_rules_differ_by_tens_of_levels_at_edges():
    edge = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    edge[..., 128:] = 255
    difference = resized(edge, SIDE, "tf1_bilinear") - resized(edge, SIDE, "bilinear")
    assert difference.abs().max() > 10


def test_none_leaves_images_alone():
    image = noise(20, 30)
    assert torch.equal(resized(image, SIDE, "none"), image.float())
