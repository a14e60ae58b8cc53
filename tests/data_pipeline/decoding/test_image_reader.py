import numpy as np

import data_pipeline.decoding.image_reader as reader_module
from data_pipeline.decoding.image_reader import BadEntry
from data_pipeline.decoding.image_reader import ImageReader
from data_pipeline.images.crop import centre_crop
from data_pipeline.images.decode import decode
from data_pipeline.reading.shard_reader import ShardReader
from data_pipeline.shards.manifest import read_manifest


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
    original = decode(ShardReader(photos, photo_data()).read(3), 3).image
    for row in (0, 2):
        assert np.array_equal(images[row], centre_crop(original, 32))


def test_bad_rows_are_named_and_their_neighbours_good(digits_copy, digits_data, damage):
    manifest = read_manifest(str(digits_copy)).split("train")
    intact, _ = ImageReader(manifest, digits_data()).read_many(np.arange(10))
    damage(digits_copy, manifest, 7)
    stages = []
    reader = ImageReader(manifest, digits_data(), on_stage=lambda *at: stages.append(at))
    pixels = np.zeros((10, 8, 8, 1), np.uint8)
    turned = np.arange(10) % 2 == 0
    bad = reader.fill(np.arange(10), pixels, positions=range(50, 60), turned=turned)
    assert list(bad) == [7]
    assert bad[7] == BadEntry(
        manifest.key(7), "bytes differ from those packed", manifest.place(7), 57
    )
    good = [row for row in range(10) if row != 7]
    expected = np.where(turned[:, None, None, None], intact[:, :, ::-1], intact)
    assert np.array_equal(pixels[good], expected[good])
    assert {position for position, text in stages if text == "decoding"} == set(range(50, 60))


def test_random_crops_belong_to_the_position(photos, photo_data):
    data = photo_data(crop="random_resized")

    def read(positions, seed=3):
        pixels = np.zeros((len(positions), 32, 32, 3), np.uint8)
        samples = np.array([position % 4 for position in positions])
        assert not ImageReader(photos, data, seed).fill(samples, pixels, positions=positions)
        return pixels

    whole = read(range(8))
    assert np.array_equal(whole[3:6], read(range(3, 6)))
    assert not np.array_equal(whole[1], whole[5]), "the same sample at another position"
    assert not np.array_equal(whole, read(range(8), seed=4))
