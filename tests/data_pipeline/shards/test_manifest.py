import json

import pytest

from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import check_manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.shards.manifest import write_manifest
from system.foundation.errors import DataError


def change(url, **changes):
    path = url / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_it_comes_back_as_written(digits_copy, digits_url):
    first = read_manifest(digits_url)
    write_manifest(read_manifest(str(digits_copy)))
    again = read_manifest(str(digits_copy))
    assert again.digest == first.digest
    assert again.samples == 1797
    assert again.bytes == sum(path.stat().st_size for path in digits_copy.glob("*.tar"))
    assert (again.image_size, again.channels, again.classes) == (8, 1, 10)


def test_splits_are_disjoint_and_whole(digits_url):
    whole = read_manifest(digits_url)
    train, held_out = whole.split("train"), whole.split("held_out")
    keys = [{key for shard in part.shards for key in shard.keys} for part in (train, held_out)]
    assert not keys[0] & keys[1]
    assert len(keys[0]) + len(keys[1]) == whole.samples == train.samples + held_out.samples
    assert 0.15 < held_out.samples / whole.samples < 0.25
    assert len({whole.digest, train.digest, held_out.digest}) == 3
    with pytest.raises(DataError, match="no shard of split 'held_out'"):
        train.split("held_out")


def test_samples_are_numbered_through_the_shards(digits):
    shard, row = digits.locate(100)
    assert shard is digits.shards[1]
    assert row == 0
    assert digits.key(digits.samples - 1) == digits.shards[-1].keys[-1]
    assert digits.place(100).startswith(f"{digits.url}/train-000001.tar bytes ")


def test_missing_says_how_to_pack(tmp_path):
    with pytest.raises(
        DataError, match=r"pack_imagenet\.py configs/pack_digits\.yaml out="
    ) as caught:
        read_manifest(str(tmp_path / "absent"))
    assert "absent/manifest.json" in str(caught.value)


def test_another_version(digits_copy):
    change(digits_copy, version=99)
    with pytest.raises(DataError, match="manifest version 99, expected 1"):
        read_manifest(str(digits_copy))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 1}', '"text"', "\udcff"])
def test_damaged_text(digits_copy, text):
    (digits_copy / MANIFEST_NAME).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match="damaged manifest"):
        read_manifest(str(digits_copy))


def test_columns_of_other_lengths(digits_copy):
    shards = json.loads((digits_copy / MANIFEST_NAME).read_text())["shards"]
    shards[0]["labels"].pop()
    change(digits_copy, shards=shards)
    with pytest.raises(DataError, match="differ in length"):
        read_manifest(str(digits_copy))


def test_changed_content(digits_copy):
    shards = json.loads((digits_copy / MANIFEST_NAME).read_text())["shards"]
    shards[0]["labels"][3] = (shards[0]["labels"][3] + 1) % 10
    change(digits_copy, shards=shards)
    with pytest.raises(DataError, match="changed or damaged"):
        read_manifest(str(digits_copy))


def test_changed_classes(digits_copy):
    change(digits_copy, class_names=list("01234"))
    with pytest.raises(DataError, match="changed or damaged"):
        read_manifest(str(digits_copy))


def test_shards_missing_and_of_another_size(digits_copy):
    (digits_copy / "train-000001.tar").unlink()
    with (digits_copy / "train-000002.tar").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match=r"2 of 19 shards.*000001.tar is missing; .*has 1000 bytes"):
        read_manifest(str(digits_copy))


def test_a_recipe_that_fits(digits, digits_data, photos, photo_data):
    check_manifest(digits, digits_data())
    check_manifest(digits, digits_data(crop="adm", image_size=4))
    check_manifest(photos, photo_data())


def test_a_recipe_for_other_data_hears_everything_at_once(digits, digits_data, photos, photo_data):
    other = digits_data(image_channels=3, classes=1000, image_size=256)
    with pytest.raises(DataError) as caught:
        check_manifest(digits, other)
    for part in ("channels: shards 1", "classes: shards 10", "shards hold 8x8 images", digits.url):
        assert part in str(caught.value)
    with pytest.raises(DataError, match=r"shards hold 8x8 images, data\.image_size 256"):
        check_manifest(digits, digits_data(crop="adm", image_size=256))
    with pytest.raises(DataError, match="images of several sizes"):
        check_manifest(photos, photo_data(crop="none"))
