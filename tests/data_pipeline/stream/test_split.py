import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.split import read_split
from system.foundation.errors import DataError


def test_split_holds_every_scan(digits_url, digits_data):
    manifest = read_manifest(digits_url).split("held_out")
    split = read_split(manifest, digits_data())
    scans = load_digits()
    assert split.image.shape == (manifest.samples, 1, 8, 8)
    assert split.image.dtype == torch.uint8
    assert split.label.dtype == torch.int64
    for image, label, key in zip(*split, strict=True):
        index = int(key.split("-")[1])
        assert label == scans.target[index]
        assert image[0].tolist() == np.rint(scans.images[index] * 255 / 16).tolist()


def test_a_split_without_its_bad_samples(digits_copy, digits_data, damage, caplog):
    manifest = read_manifest(str(digits_copy)).split("held_out")
    damage(digits_copy, manifest, 5)
    split = read_split(manifest, digits_data(max_bad_fraction=0.01))
    assert len(split.keys) == len(split.image) == len(split.label) == manifest.samples - 1
    assert manifest.key(5) not in split.keys
    assert manifest.key(5) in caplog.text
    with pytest.raises(DataError) as caught:
        read_split(manifest, digits_data())
    for part in (manifest.key(5), manifest.place(5), "bytes differ", "max_bad_fraction 0.0"):
        assert part in str(caught.value)


def test_a_split_of_other_data_is_refused(digits, digits_data):
    with pytest.raises(DataError, match="other data than the recipe"):
        read_split(digits, digits_data(classes=5))


def test_of_a_larger_split_the_same_few_are_read(digits, digits_data):
    manifest, data = digits.split("train"), digits_data()
    whole, few = read_split(manifest, data), read_split(manifest, data, 50)
    assert len(few.keys) == 50
    assert few.keys == read_split(manifest, data, 50).keys
    at = [whole.keys.index(key) for key in few.keys]
    assert at == sorted(at)
    assert max(at) - min(at) > len(whole.keys) / 2  # from all over the split
    assert torch.equal(few.image, whole.image[at])
    assert torch.equal(few.label, whole.label[at])
    assert read_split(manifest, data, 10**6).keys == whole.keys
