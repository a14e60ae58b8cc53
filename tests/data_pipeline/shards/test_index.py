import io
import tarfile

import pytest
import webdataset

from data_pipeline.shards.index import build_manifest
from data_pipeline.shards.index import index_shard
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.shards.manifest import write_manifest
from data_pipeline.stream.loader import open_stream
from data_pipeline.stream.reader import ShardReader
from system.foundation.errors import DataError
from system.foundation.world import World


def tar_of(*members):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


@pytest.fixture
def foreign_url(tmp_path, photographs, jpeg):
    """Shards as webdataset's own writer makes them, with a member that is none of our business."""
    pattern = str(tmp_path / "part-%04d.tar")
    with webdataset.ShardWriter(pattern, maxcount=4, verbose=0) as writer:
        for index in range(10):
            crop = photographs[index % 2][index : index + 40, : 40 + index]
            note = {"index": index}
            writer.write(
                {"__key__": f"s{index}", "jpg": jpeg(crop), "cls": index % 3, "json": note}
            )
    return str(tmp_path)


def test_shards_of_plain_webdataset_can_be_read(foreign_url, photo_data):
    write_manifest(build_manifest(foreign_url, class_names=("a", "b", "c"), channels=3))
    manifest = read_manifest(foreign_url)
    assert [shard.samples for shard in manifest.shards] == [4, 4, 2]
    assert manifest.labels.tolist() == [index % 3 for index in range(10)]
    assert manifest.image_size is None
    reader = ShardReader(manifest, 1)
    theirs = webdataset.WebDataset(f"{foreign_url}/part-{{0000..0002}}.tar", shardshuffle=False)
    for sample, theirs_here in enumerate(theirs):
        assert manifest.key(sample) == theirs_here["__key__"]
        assert reader.read(sample) == theirs_here["jpg"]
    data = photo_data(image_size=24)
    stream = open_stream(
        manifest, data, seed=0, world=World(), global_batch=10, micro_batch=10, images_seen=0
    )
    assert sorted(next(stream)[0].key) == sorted(f"s{index}" for index in range(10))


def test_one_size_is_told(digits_url, digits):
    rebuilt = build_manifest(digits_url, class_names=digits.class_names, channels=1)
    assert rebuilt.image_size == 8
    assert rebuilt.split("train").digest == digits.digest


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "no samples"),
        ([("a.png", b"x")], "'a' has no label"),
        ([("a.cls", b"1")], "'a' has no image"),
        ([("a.json", b"{}")], "no image .* and no label"),
        ([("a.png", b"x"), ("a.cls", b"one")], "label of 'a.cls' is b'one'"),
        ([("../a.png", b"x"), ("../a.cls", b"1")], "relative path"),
        ([("/a.png", b"x"), ("/a.cls", b"1")], "relative path"),
        ([("folder/noextension", b"x")], "key.extension"),
        ([("a.png", b"x"), ("a.cls", b"1"), ("b.png", b"x"), ("b.cls", b"1")] * 2, "two samples"),
    ],
)
def test_what_is_not_a_shard_of_samples(members, message):
    with pytest.raises(DataError, match=message) as caught:
        index_shard("memory://there/train-000000.tar", tar_of(*members))
    assert "memory://there/train-000000.tar" in str(caught.value)


def test_folders_in_a_tar_are_passed_over():
    target = io.BytesIO(tar_of(("c/a.png", b"x"), ("c/a.cls", b"1")))
    with tarfile.open(fileobj=target, mode="a") as tar:
        folder = tarfile.TarInfo("c")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    assert index_shard("s.tar", target.getvalue()).keys == ("c/a",)


@pytest.mark.parametrize("kept", [100, 512 * 3 + 40, 700])
def test_a_truncated_tar_is_named(kept):
    whole = tar_of(("a.png", b"x" * 600), ("a.cls", b"1"), ("b.png", b"y" * 600), ("b.cls", b"2"))
    with pytest.raises(DataError, match=r"s\.tar: damaged tar|s\.tar: sample 'a' has no label"):
        index_shard("s.tar", whole[:kept])


def test_no_shards_doubled_keys_and_wrong_labels(tmp_path):
    with pytest.raises(DataError, match=r"no \*\.tar files"):
        build_manifest(str(tmp_path), class_names=("a",), channels=1)
    (tmp_path / "0.tar").write_bytes(tar_of(("a.png", b"x"), ("a.cls", b"1")))
    with pytest.raises(DataError, match="labels 1 to 1, expected 0 to 0"):
        build_manifest(str(tmp_path), class_names=("a",), channels=1)
    (tmp_path / "1.tar").write_bytes(tar_of(("a.png", b"x"), ("a.cls", b"1")))
    with pytest.raises(DataError, match=r"key 'a' is in 0\.tar and in 1\.tar"):
        build_manifest(str(tmp_path), class_names=("a", "b"), channels=1)
