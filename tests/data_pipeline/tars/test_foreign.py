import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import webdataset

from data_pipeline.images.decode import encode_png
from data_pipeline.reading.shard_reader import ShardReader
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.split import read_split
from data_pipeline.tars.foreign import Indexing
from data_pipeline.tars.foreign import build_manifest
from data_pipeline.tars.foreign import check_keys
from data_pipeline.tars.foreign import index_shards
from data_pipeline.tars.foreign import labelling_of
from system.foundation import storage
from system.foundation.config import resolve
from system.foundation.errors import DataError
from system.foundation.errors import RecipeError
from tests.data_pipeline.manifests import make_manifest

PAIR = [("a.png", b"x"), ("a.cls", b"1")]


def test_our_reader_reads_shards_of_plain_webdataset(foreign_url, photo_data):
    found = index_shards(Indexing(url=foreign_url, classes=3))
    assert found.passed_over == ()
    manifest = read_manifest(foreign_url)
    assert manifest.digest == found.manifest.digest
    names = ["train-0000.tar", "train-0001.tar", "train-0002.tar", "val-0000.tar"]
    assert [shard.name for shard in manifest.shards] == names
    assert [shard.samples for shard in manifest.shards] == [4, 4, 2, 3]
    assert [shard.split for shard in manifest.shards] == ["train"] * 3 + ["held_out"]
    assert manifest.image_size is None
    reader = ShardReader(manifest, photo_data())
    theirs = list(
        webdataset.WebDataset([f"{foreign_url}/{name}" for name in names], shardshuffle=False)
    )
    assert len(theirs) == manifest.samples
    for sample, there in enumerate(theirs):
        assert manifest.key(sample) == there["__key__"]
        assert manifest.labels[sample] == int(there["cls"])
        assert reader.read(sample) == there["jpg"]
    split = read_split(manifest.split("train"), photo_data(image_size=24))
    assert split.keys == tuple(there["__key__"] for there in theirs[:10])
    assert split.image.shape == (10, 3, 24, 24)


def test_plain_webdataset_reads_our_shards(digits_url, digits):
    url = f"{digits_url}/train-{{000000..{len(digits.shards) - 1:06d}}}.tar"
    theirs = list(webdataset.WebDataset(url, shardshuffle=False))
    assert [there["__key__"] for there in theirs] == [digits.key(i) for i in range(digits.samples)]
    assert [int(there["cls"]) for there in theirs] == digits.labels.tolist()
    ours = read_split(digits, digits_settings(digits_url))
    decoded = webdataset.WebDataset(url, shardshuffle=False).decode("l8").to_tuple("png")
    for row, (image,) in zip(range(150), decoded, strict=False):
        np.testing.assert_array_equal(image, ours.image[row, 0])


def digits_settings(url):
    from system.foundation.settings.data import Data

    return Data(
        shards=url, image_size=8, image_channels=1, classes=10, crop="none", workers=0, flip=False
    )


def test_our_shards_without_their_manifest_get_the_same_one(digits_copy, digits_url):
    (digits_copy / MANIFEST_NAME).unlink()
    index_shards(Indexing(url=str(digits_copy), classes=10, channels=1))
    again, first = parse_manifest(str(digits_copy)), parse_manifest(digits_url)
    assert again.image_size == 8
    assert {shard.name: shard.index_digest for shard in again.shards} == {
        shard.name: shard.index_digest for shard in first.shards
    }
    assert again.split("train").digest == first.split("train").digest


@pytest.mark.parametrize("threads", [1, 5])
def test_other_names_folders_and_threads(foreign_url, threads):
    root = Path(foreign_url)
    (root / "more").mkdir()
    (root / "val-0000.tar").rename(root / "more" / "val-0000.tar")
    found = build_manifest(
        Indexing(url=f"{foreign_url}/{{train-0001,more/val-0000}}.tar", classes=3, threads=threads)
    )
    assert [(shard.name, shard.split) for shard in found.manifest.shards] == [
        ("more/val-0000.tar", "held_out"),
        ("train-0001.tar", "train"),
    ]
    assert found.manifest.url == foreign_url
    assert found.summary() == (
        f"{foreign_url}: 7 images of 3 classes, 4 in 1 shard to train on, 3 in 1 shard held out\n"
        "images of several sizes"
    )


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("held_out-000000.tar", "held_out"),
        ("val-000.tar", "held_out"),
        ("val000.tar", "held_out"),
        ("val.tar", "held_out"),
        ("imagenet1k-validation-00.tar", "held_out"),
        ("ILSVRC2012_val_3.tar", "held_out"),
        ("val/part-0.tar", "held_out"),
        ("train-000.tar", "train"),
        ("values-000.tar", "train"),
        ("carnival-000.tar", "train"),
        ("train/interval-0.tar", "train"),
    ],
)
def test_which_shards_are_held_out_by_their_names(tmp_path, tar_of, name, split):
    storage.write_bytes(f"{tmp_path}/{name}", tar_of(*PAIR))
    found = build_manifest(Indexing(url=str(tmp_path), names=name, classes=2)).manifest
    assert [(shard.name, shard.split) for shard in found.shards] == [(name, split)]


def test_labels_of_a_field_by_name(foreign_url, tmp_path):
    (tmp_path / "names.txt").write_text("2 a\n0 b\n1 c\n")
    recipe = Indexing(
        url=foreign_url, class_names=str(tmp_path / "names.txt"), label_field="class", held_out=()
    )
    index_shards(recipe)
    manifest = parse_manifest(foreign_url)
    assert manifest.class_names == ("b", "c", "a")
    expected = [[2, 0, 1][index % 3] for index in [*range(10), *range(3)]]
    assert manifest.labels.tolist() == expected
    assert {shard.split for shard in manifest.shards} == {"train"}
    assert labelling_of(manifest).field == "class"


def test_members_that_are_in_no_sample_are_told(tmp_path, tar_of):
    (tmp_path / "0.tar").write_bytes(tar_of(("README", b"x"), *PAIR))
    found = build_manifest(Indexing(url=str(tmp_path), classes=2))
    assert found.summary().endswith("in no sample: 1 member, such as README")


@pytest.mark.parametrize(
    ("shapes", "size"),
    [
        ([(8, 8), (8, 8)], 8),
        ([(8, 6), (8, 6)], None),
        ([(8, 8), (9, 9), (8, 6)], None),
        ([None, (8, 8), None], 8),
        ([None], None),
    ],
)
def test_one_size_is_told_from_several(tmp_path, tar_of, shapes, size):
    for number, shape in enumerate(shapes):
        image = b"broken" if shape is None else encode_png(np.zeros((*shape, 1), np.uint8))
        members = [(f"{number}.png", image), (f"{number}.cls", b"0")]
        (tmp_path / f"{number}.tar").write_bytes(tar_of(*members))
    found = build_manifest(Indexing(url=str(tmp_path), classes=1)).manifest
    assert found.image_size == size


def test_a_manifest_is_not_replaced_unasked(foreign_url):
    recipe = Indexing(url=foreign_url, classes=3)
    index_shards(recipe)
    with pytest.raises(DataError, match=r"there is a manifest already.*on_existing=replace"):
        index_shards(recipe)
    index_shards(recipe.model_copy(update={"on_existing": "replace", "classes": 4}))
    assert parse_manifest(foreign_url).classes == 4


def test_a_manifest_of_the_first_version_is_superseded(digits_copy):
    (digits_copy / MANIFEST_NAME).rename(digits_copy / "manifest.json")
    index_shards(Indexing(url=str(digits_copy), classes=10, channels=1))
    assert read_manifest(str(digits_copy)).samples == 1797


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ({}, r"no \*\.tar here, and nothing else either"),
        (
            {"0.tar": [("a.png", b"x"), ("a.cls", b"2")]},
            r"0\.tar bytes .*label '2', expected .*to 1",
        ),
        ({"0.tar": PAIR, "1.tar": PAIR}, r"key 'a' is in 0\.tar and in 1\.tar"),
        ({"0.tar": PAIR, "1.tar": []}, r"1\.tar: no samples"),
        ({"0.tar": PAIR, "1.tar": None}, r"1\.tar: damaged tar"),
    ],
)
def test_shards_that_cannot_be_used_leave_no_manifest(tmp_path, tar_of, shards, message):
    for name, members in shards.items():
        content = tar_of(*PAIR)[:700] if members is None else tar_of(*members)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        index_shards(Indexing(url=str(tmp_path), classes=2))
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / MANIFEST_NAME).exists()


def test_classes_are_told_once(tmp_path, tar_of):
    (tmp_path / "0.tar").write_bytes(tar_of(*PAIR))
    with pytest.raises(DataError, match="Give classes=1000"):
        build_manifest(Indexing(url=str(tmp_path)))
    with pytest.raises(RecipeError, match="give one"):
        resolve(None, ["classes=3", "class_names=x"], Indexing)


def test_a_key_of_many_in_two_shards_is_found():
    manifest = make_manifest(3000, 100)
    check_keys("there", manifest.shards)
    with pytest.raises(DataError, match=r"is in train-000007\.tar and in train-000007\.tar"):
        check_keys("there", [*manifest.shards, manifest.shards[7]])


def test_shards_elsewhere(tar_of, tmp_path):
    url = f"memory://{tmp_path.name}"
    storage.write_bytes(f"{url}/0.tar", tar_of(*PAIR))
    index_shards(Indexing(url=url, classes=2))
    assert read_manifest(url).key(0) == "a"


def test_the_job_indexes(foreign_url):
    command = [sys.executable, "jobs/index_shards.py", foreign_url]
    done = subprocess.run([*command, "classes=3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "13 images of 3 classes" in done.stdout
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 4
    assert "there is a manifest already" in refused.stderr
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "label_field" in shown.stdout
