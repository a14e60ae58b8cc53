import numpy as np
import pytest
import torch

from data_pipeline.decoding.host_batches import open_batches
from data_pipeline.stream.placement import normalised
from data_pipeline.stream.placement import place


def test_pixels_become_numbers_channels_first():
    pixels = torch.arange(24, dtype=torch.uint8).reshape(1, 2, 4, 3) * 11
    image = normalised(pixels)
    assert image.shape == (1, 3, 2, 4)
    assert image.is_contiguous()
    assert torch.equal(image, pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
    ends = normalised(torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1))
    assert ends.flatten().tolist() == [-1, 1]


def test_a_placed_batch_outlives_the_loaders_arrays(digits, digits_data):
    batches = open_batches(digits, digits_data(), seed=5, starts=iter(range(0, 60, 6)), rows=6)
    placed = place(batches, torch.device("cpu"))
    first = next(placed)
    kept, labels = first.image.clone(), first.label.clone()
    pixels = first.host.image.copy()
    next(placed)
    assert not np.array_equal(first.host.image, pixels), "the arrays hold the next one"
    assert torch.equal(first.image, kept)
    assert torch.equal(first.label, labels)


@pytest.mark.gpu
def test_a_gpu_gets_the_same_batches(photos, photo_data):
    def images(device):
        data = photo_data(workers=2, flip=True)
        batches = open_batches(photos, data, seed=5, starts=iter(range(0, 600, 6)), rows=6)
        return [(each.image.cpu(), each.label.cpu()) for each in place(batches, device)]

    for (one, label), (other, expected) in zip(
        images(torch.device("cuda", 0)), images(torch.device("cpu")), strict=True
    ):
        assert torch.equal(one, other)
        assert torch.equal(label, expected)
