import json
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import check_manifest
from data_pipeline.shards.manifest import check_shards
from data_pipeline.shards.manifest import difference
from data_pipeline.shards.manifest import open_local
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.shards.manifest import write_manifest
from system.foundation import storage
from system.foundation.errors import DataError
from tests.data_pipeline.manifests import make_manifest
from tests.data_pipeline.manifests import rewrite

SAMPLES, SHARDS = 1797, 19


def rows_of(manifest):
    return [
        (index.keys[:], *(column.tolist() for column in columns))
        for index in map(manifest.indices, range(len(manifest.shards)))
        for columns in [(index.labels, index.offsets, index.lengths, index.digests)]
    ]


def test_it_comes_back_as_written(digits_copy, digits_url):
    first = read_manifest(digits_url)
    write_manifest(read_manifest(str(digits_copy)))
    again = read_manifest(str(digits_copy))
    assert again.digest == first.digest
    assert rows_of(again) == rows_of(first)
    assert again.samples == SAMPLES
    assert again.bytes == sum(path.stat().st_size for path in digits_copy.glob("*.tar"))
    assert (again.image_size, again.channels, again.classes) == (8, 1, 10)
    assert (digits_copy / MANIFEST_NAME).read_bytes() == storage.read_bytes(
        storage.join(digits_url, MANIFEST_NAME)
    )


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


def test_labels_of_all_are_those_of_the_shards(digits_url, digits):
    held_out = read_manifest(digits_url).split("held_out")
    in_memory = replace(
        digits, shards=tuple(replace(each, rows=each.index) for each in digits.shards)
    )
    for manifest in (digits, held_out, in_memory):
        expected = np.concatenate([shard.labels for shard in manifest.shards])
        assert manifest.labels.dtype == np.int32
        np.testing.assert_array_equal(manifest.labels, expected)


def test_a_local_file_of_every_split_for_another_process(digits_url, digits):
    file = digits.local_file()
    assert str(file) == f"{digits_url}/{MANIFEST_NAME}"
    there = open_local(file, digits_url)
    assert there.split("train").digest == digits.digest
    assert there.digest == read_manifest(digits_url).digest
    assert pickle.loads(pickle.dumps(digits)).labels.tolist() == digits.labels.tolist()


def test_a_local_file_of_what_is_elsewhere_or_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = make_manifest(50, 20, url=f"memory://{tmp_path.name}")
    file = made.local_file()
    assert file.is_relative_to(tmp_path)
    assert open_local(file, made.url).digest == made.digest
    write_manifest(made)
    assert parse_manifest(made.url).split("train").local_file() == file
    file.unlink()  # as those who tidy temporary folders do
    parsed = parse_manifest(made.url)
    assert parsed.local_file() == file
    assert rows_of(parsed) == rows_of(made)
    file.unlink()
    assert open_local(parsed.local_file(), made.url).digest == made.digest


def test_a_file_that_was_replaced_is_not_handed_on(digits_copy, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    manifest = read_manifest(str(digits_copy))
    write_manifest(make_manifest(50, 20, url=str(digits_copy)))
    file = manifest.local_file()
    assert file.parent != digits_copy
    assert open_local(file, manifest.url).digest == manifest.digest


def test_missing_says_how_to_pack(tmp_path):
    for url in (str(tmp_path / "absent"), f"memory://{tmp_path.name}/absent"):
        with pytest.raises(
            DataError, match=r"pack_imagenet\.py configs/pack_digits\.yaml out="
        ) as caught:
            read_manifest(url)
        assert "absent/manifest.parquet: no such manifest" in str(caught.value)


@pytest.mark.parametrize("root", ["", "memory:/"])
def test_a_manifest_of_the_first_version(root, tmp_path):
    url = f"{root}{tmp_path}"
    storage.write_bytes(storage.join(url, "manifest.json"), b'{"version": 1}')
    with pytest.raises(DataError, match=r"manifest\.json: .* version 1, .*index_shards\.py"):
        read_manifest(url)


def test_another_version(digits_copy):
    rewrite(digits_copy, lambda head: head.update(version=99))
    with pytest.raises(DataError, match="manifest version 99, expected 2"):
        read_manifest(str(digits_copy))


@pytest.mark.parametrize("content", [b"", b"{", b"PAR1", b"PAR1\0\0\0\0PAR1", b"x" * 100])
@pytest.mark.parametrize("root", ["", "memory:/"])
def test_no_parquet(content, root, tmp_path):
    url = f"{root}{tmp_path}"
    storage.write_bytes(storage.join(url, MANIFEST_NAME), content)
    with pytest.raises(DataError, match=rf"{MANIFEST_NAME}.*damaged manifest"):
        read_manifest(url)


@pytest.mark.parametrize("key", ["version", "digest", "channels", "class_names", "shards"])
def test_a_head_that_lacks_something(digits_copy, key):
    rewrite(digits_copy, lambda head: head.pop(key))
    with pytest.raises(DataError, match="damaged manifest"):
        read_manifest(str(digits_copy))


def test_shards_elsewhere_and_of_no_split(digits_copy):
    for changes in ({"name": "../x.tar"}, {"name": "/x.tar"}, {"split": "test"}, {"samples": 99}):
        rewrite(digits_copy, lambda head, changes=changes: head["shards"][0].update(changes))
        with pytest.raises(DataError, match="damaged manifest"):
            read_manifest(str(digits_copy))


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.update(class_names=list("01234")),
        lambda head: head.update(channels=3),
        lambda head: head.update(image_size=None),
        lambda head: head["shards"][0].update(split="held_out"),
        lambda head: head["shards"][1].update(bytes=7),
        lambda head: head["shards"][2].update(digest="0" * 32),
        lambda head: head["shards"][3].update(index_digest="0" * 32),
        lambda head: head["shards"][4].update(name="train-00004.tar"),
    ],
)
def test_changed_head(digits_copy, change):
    rewrite(digits_copy, change)
    with pytest.raises(DataError, match="changed or damaged"):
        read_manifest(str(digits_copy))


def test_shards_missing_and_of_another_size(digits_copy):
    (digits_copy / "train-000001.tar").unlink()
    with (digits_copy / "train-000002.tar").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match=r"2 of 19 shards.*000001.tar is missing; .*has 1000 bytes"):
        read_manifest(str(digits_copy))


def test_shards_in_folders_are_looked_for_there(digits_copy):
    (digits_copy / "part").mkdir()
    (digits_copy / "train-000001.tar").rename(digits_copy / "part" / "1.tar")
    manifest = parse_manifest(str(digits_copy))
    shards = list(manifest.shards)
    (place,) = (i for i, shard in enumerate(shards) if shard.name == "train-000001.tar")
    shards[place] = replace(shards[place], name="part/1.tar")
    check_shards(replace(manifest, shards=tuple(shards)))
    with pytest.raises(DataError, match=r"1 of 19 shards.*train-000001\.tar is missing"):
        check_shards(manifest)


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
    for crop in ("adm", "centre"):
        with pytest.raises(DataError, match=r"shards hold 8x8 images, data\.image_size 256"):
            check_manifest(digits, digits_data(crop=crop, image_size=256))
    with pytest.raises(DataError, match="images of several sizes"):
        check_manifest(photos, photo_data(crop="none"))


def test_heads_go_through_json_and_tell_what_changed(digits_url):
    whole = read_manifest(digits_url)
    heads = json.loads(json.dumps(whole.heads()))
    assert difference(heads, whole) == []
    assert len(heads["shards"]) == SHARDS
    assert difference(heads, replace(whole, shards=whole.shards[1:])) == [
        f"1 shard gone: {whole.shards[0].name}"
    ]


def test_a_file_url(digits_url, digits):
    manifest = read_manifest(f"file://{digits_url}").split("train")
    assert manifest.digest == digits.digest
    assert str(manifest.local_file()) == f"{digits_url}/{MANIFEST_NAME}"


@pytest.mark.slow
def test_a_window_of_imagenet_takes_little_memory(tmp_path):
    write_manifest(make_manifest(1_281_167, 1000, str(tmp_path)))
    program = """
import sys, psutil
from data_pipeline.shards.manifest import parse_manifest
process = psutil.Process()
before = process.memory_full_info().uss
train = parse_manifest(sys.argv[1]).split("train")
assert (train.samples, len(train.digest)) == (1_281_167, 32)
for shard in range(0, 1282, 160):
    assert len(train.indices(shard).offsets) == len(train.indices(shard).keys)
print(process.memory_full_info().uss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 50e6  # about 14e6
