import numpy as np
import pytest
import torch
from torchvision.transforms import CenterCrop
from torchvision.transforms import Compose
from torchvision.transforms import Normalize
from torchvision.transforms import Resize
from torchvision.transforms import ToTensor

from data_pipeline.images.decode import from_pillow
from data_pipeline.images.decode import to_pillow
from data_pipeline.shards.manifest import read_manifest
from system.evaluation.sources.tarflow_loader import TorchvisionReader
from system.evaluation.sources.tarflow_loader import as_loaded
from system.evaluation.sources.tarflow_loader import lowered
from system.evaluation.sources.tarflow_loader import scaled_and_cut


@pytest.mark.parametrize(
    ("height", "width", "channels"),
    [(40, 61, 3), (61, 40, 3), (37, 37, 3), (16, 33, 3), (16, 16, 3), (9, 15, 3), (30, 41, 1)],
)
def test_pixels_are_torchvisions(height, width, channels):
    image = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    expected = Compose([Resize(16), CenterCrop(16)])(to_pillow(image))
    assert np.array_equal(scaled_and_cut(image, 16), from_pillow(expected))


def test_levels_are_those_that_the_script_gives_its_metric():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    shown = Compose([ToTensor(), Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])(to_pillow(levels))
    expected = (0.5 * (shown + 1) * 255).byte()
    image = torch.from_numpy(levels).permute(2, 0, 1)[None]
    assert torch.equal(as_loaded(image.clone(), np.array([False]))[0], expected)
    assert torch.equal(as_loaded(image.clone(), np.array([True]))[0], expected.flip(2))


def test_truncation_lowers_63_levels_by_one():
    change = torch.arange(256) - lowered().long()
    assert int(change.sum()) == 63
    assert set(change.tolist()) == {0, 1}


def test_images_of_the_right_size_are_left_alone(recipe, held_out):
    manifest = read_manifest(recipe.data.shards).split("held_out")
    pixels, bad = TorchvisionReader(manifest, recipe.data).read_many(np.arange(5, 9))
    assert not bad
    assert torch.equal(torch.from_numpy(pixels).permute(0, 3, 1, 2), held_out.image[5:9])
