import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import data_pipeline.stream.reader as reader_module
from data_pipeline.images.crop import centre_crop
from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import decode
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.reader import ImageReader
from data_pipeline.stream.reader import ShardReader
from data_pipeline.stream.reader import read_split
from system.foundation.errors import DataError


def damage(folder, manifest, sample):
    """Change one byte in the middle of a sample's image, and nothing else."""
    shard, row = manifest.locate(sample)
    with (folder / shard.name).open("r+b") as file:
        place = int(shard.offsets[row]) + int(shard.lengths[row]) // 2
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x5A]))


@pytest.fixture(params=["whole", "ranged"])
def way(request, monkeypatch):
    """Both ways of reading a shard."""
    if request.param == "ranged":
        monkeypatch.setattr(reader_module, "SHARD_CACHE_BYTES", 0)
    return request.param


@pytest.mark.usefixtures("way")
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


@pytest.mark.usefixtures("way")
def test_a_damaged_sample_is_bad_and_its_neighbours_are_not(digits_copy):
    manifest = read_manifest(str(digits_copy)).split("train")
    damage(digits_copy, manifest, 7)
    reader = ShardReader(manifest, 2)
    with pytest.raises(BadSample, match="bytes differ"):
        reader.read(7)
    assert reader.read(6)
    assert reader.read(8)


@pytest.mark.usefixtures("way")
def test_a_shard_that_vanished_is_named(digits_copy):
    manifest = read_manifest(str(digits_copy)).split("train")
    (digits_copy / "train-000000.tar").unlink()
    with pytest.raises(DataError, match=r"train-000000\.tar: this shard is gone"):
        ShardReader(manifest, 1).read(0)


def test_whole_shards_are_kept_within_the_budget(digits_copy, monkeypatch):
    manifest = read_manifest(str(digits_copy)).split("train")
    monkeypatch.setattr(reader_module, "SHARD_CACHE_BYTES", 2 * manifest.shards[0].bytes)
    reader = ShardReader(manifest, window_shards=2)
    first_of = manifest.first.tolist()
    for shard in (0, 1):
        reader.read(first_of[shard])
        (digits_copy / manifest.shards[shard].name).unlink()
    for shard in (0, 1, 0):
        assert reader.read(first_of[shard] + 1)
    reader.read(first_of[2])  # takes the room of shard 1, which was used least lately
    assert reader.read(first_of[0] + 2)
    with pytest.raises(DataError, match="this shard is gone"):
        reader.read(first_of[1] + 2)


def test_images_are_decoded_once_when_they_fit(digits_copy, digits_data):
    manifest = read_manifest(str(digits_copy)).split("train")
    reader = ImageReader(manifest, digits_data())
    first, bad = reader.read_many(np.arange(manifest.samples))
    assert not bad
    for path in digits_copy.glob("*.tar"):
        path.unlink()
    again, _ = reader.read_many(np.arange(manifest.samples))
    assert np.array_equal(first, again)


def test_images_that_do_not_fit_are_decoded_each_time(photos, photo_data, monkeypatch):
    monkeypatch.setattr(reader_module, "PIXEL_CACHE_BYTES", 0)
    images, _ = ImageReader(photos, photo_data()).read_many(np.array([3, 0, 3]))
    original = decode(ShardReader(photos, 1).read(3), 3).image
    for row in (0, 2):
        assert np.array_equal(images[row].transpose(1, 2, 0), centre_crop(original, 32))


def test_a_split_without_its_bad_samples(digits_copy, digits_data, caplog):
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
