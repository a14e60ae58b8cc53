"""Our network beside torch-fidelity's, both with the same weights, on the same images.

The two run the same kernels in the same order: float32 agrees to its rounding (found: bit by bit),
float64 to 1e-12. The issue asks for 1e-4, which would hide a wrong place at a border.
"""

import pytest
import torch
from einops import rearrange
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from system.evaluation.detectors.inception import read_inception
from system.evaluation.detectors.inception_network import SIDE
from system.evaluation.detectors.inception_network import SPATIAL_CHANNELS
from system.evaluation.detectors.inception_network import InceptionNetwork
from system.evaluation.detectors.resize import resized

SIZES = [(64, 64), (256, 256), (299, 299), (512, 512), (100, 333)]
CLOSE = {torch.float32: 1e-6, torch.float64: 1e-12}


def images(size):
    """An image of noise on coarse blocks."""
    generator = torch.Generator().manual_seed(sum(size))
    coarse = torch.randint(0, 200, (1, 3, 8, 8), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, size=size)
    noise = torch.randint(0, 56, (1, 3, *size), generator=generator)
    return (smooth + noise).to(torch.uint8)


def extractor(file, features):
    """Torch-fidelity's own, with its weights from a file."""
    return FeatureExtractorInceptionV3(
        "inception-v3-compat", features, feature_extractor_weights_path=file
    )


class Reference:
    """Torch-fidelity's extractor, and what its layers made of the last images, uncast."""

    def __init__(self, file, dtype):
        self.extractor = extractor(file, ["2048", "logits"]).to(dtype)
        # Its own option for float64 computes in float32 (0.4.0, `text_to_dtype`).
        self.extractor.feature_extractor_internal_dtype = dtype
        self.made = {}
        for layer in ("Mixed_6d.branch1x1", "AvgPool", "fc"):
            module = self.extractor.get_submodule(layer)
            module.register_forward_hook(
                lambda _, __, output, layer=layer: self.made.__setitem__(layer, output)
            )

    def look(self, image):
        with torch.no_grad():
            self.extractor(image)
        return self.made["AvgPool"].flatten(1), self.made["Mixed_6d.branch1x1"], self.made["fc"]


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["32", "64"])
def pair(request, inception_file):
    """Our network and theirs, in the same arithmetic."""
    network, _ = read_inception(inception_file, None)
    network = network.to(request.param).eval().requires_grad_(False)
    return network, Reference(inception_file, request.param), request.param


def distance(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_torch_fidelity(pair, size):
    network, reference, dtype = pair
    image = images(size)
    pooled, grid, biased = reference.look(image)
    ordered = rearrange(grid[:, :SPATIAL_CHANNELS], "b c h w -> b (h w c)")
    features, spatial, logits = network((resized(image, SIDE, "tf1_bilinear", dtype) - 128) / 128)
    assert features.dtype == dtype
    assert features.shape == (1, 2048)
    assert spatial.shape == (1, 2023)
    assert logits.shape == (1, 1008)
    assert distance(features, pooled) <= CLOSE[dtype]
    assert distance(spatial, ordered) <= CLOSE[dtype]
    assert distance(logits + network.fc.bias, biased) <= CLOSE[dtype]


def test_logits_are_those_without_bias(inception, inception_file):
    network, image = inception.network, images((299, 299))
    _, _, logits = network((image.float() - 128) / 128)
    (wanted,) = extractor(inception_file, ["logits_unbiased"])(image)
    assert distance(logits, wanted) <= CLOSE[torch.float32]
    assert distance(logits + network.fc.bias, wanted) > 1e-3


def test_channels_outermost_would_be_other_spatial_features(pair):
    network, reference, dtype = pair
    image = images((299, 299))
    _, grid, _ = reference.look(image)
    _, spatial, _ = network((image.to(dtype) - 128) / 128)
    outermost = grid[:, :SPATIAL_CHANNELS].flatten(1)
    assert distance(spatial, outermost) > 0.1
    assert distance(spatial.sort().values, outermost.sort().values) <= CLOSE[dtype]


def test_size_of_the_network():
    with torch.device("meta"):
        network = InceptionNetwork()
    # The published file has 95,628,359 bytes, of which its tensors are all but names and framing.
    floats = [value for value in network.state_dict().values() if value.is_floating_point()]
    assert 95_628_359 - 4 * sum(value.numel() for value in floats) in range(200_000)
