import tarfile

import pytest
import xxhash
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from data_pipeline.tars.index import index_shard
from data_pipeline.tars.labelling import Labelling
from data_pipeline.tars.tar_stream import TarStream
from system.foundation.errors import DataError

URL = "memory://there/train-000000.tar"
PAIR = [("a.png", b"x" * 600), ("a.cls", b"1")]


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def test_where_images_lie_and_what_they_show(tar_of, stream_of, ten_classes):
    data = tar_of(*PAIR, ("b/c.cls", b"2"), ("b/c.PNG", b"second"), ("b/c.json", b"{}"))
    found = index_shard(stream_of(data), ten_classes)
    assert found.index.keys == ("a", "b/c")
    assert found.index.labels.tolist() == [1, 2]
    for row, content in enumerate((b"x" * 600, b"second")):
        start, length = found.index.offsets[row], found.index.lengths[row]
        assert data[start : start + length] == content
        assert found.index.digests[row] == xxhash.xxh3_64_intdigest(content)
    assert found.digest == xxhash.xxh3_128_hexdigest(data)
    assert found.bytes == len(data)
    assert found.passed_over == ()


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_any_length_in_any_format(tar_of, stream_of, ten_classes, layout):
    keys = ["k" * 90, "f" * 60 + "/" + "g" * 60]
    if layout != tarfile.USTAR_FORMAT:
        keys += ["ß" * 130, "h" * 300]
    members = [(f"{key}.{end}", b"1") for key in keys for end in ("png", "cls")]
    found = index_shard(stream_of(tar_of(*members, layout=layout)), ten_classes)
    assert list(found.index.keys) == keys


@settings(max_examples=40, deadline=None)
@given(
    samples=st.lists(
        st.tuples(st.text("abcö/", min_size=1, max_size=12), st.binary(max_size=900)),
        min_size=1,
        max_size=6,
        unique_by=lambda sample: sample[0].strip("/"),
    ),
    part=st.integers(1, 3000),
)
def test_whatever_is_written_is_found(tar_of, stream_of, ten_classes, samples, part):
    samples = [(f"k/{key.strip('/')}x", data) for key, data in samples]
    members = [
        member
        for row, (key, data) in enumerate(samples)
        for member in ((f"{key}.jpg", data), (f"{key}.cls", b"%d" % (row % 10)))
    ]
    data = tar_of(*members, layout=tarfile.PAX_FORMAT)
    found = index_shard(stream_of(data, part), ten_classes).index
    assert list(found.keys) == [key for key, _ in samples]
    assert found.labels.tolist() == [row % 10 for row in range(len(samples))]
    for row, (_, image) in enumerate(samples):
        assert data[found.offsets[row] : found.offsets[row] + found.lengths[row]] == image


def test_each_image_is_shown(tar_of, stream_of, ten_classes):
    seen = []
    index_shard(stream_of(tar_of(*PAIR, ("b.png", b""), ("b.cls", b"2"))), ten_classes, seen.append)
    assert seen == [b"x" * 600, b""]


def test_what_webdataset_passes_over_is_passed_over(tar_of, stream_of, ten_classes):
    others = ["README", "c/._a.png", "__meta__", "__x__/a.png", ".hidden.png"]
    data = tar_of(special("c", tarfile.DIRTYPE), *((name, b"x") for name in others), *PAIR)
    found = index_shard(stream_of(data), ten_classes)
    assert found.index.keys == ("a",)
    assert found.passed_over == ("c", *others)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "no samples in this tar"),
        ([("README", b"x")], "no samples in this tar"),
        ([("a.png", b"x")], "bytes 512-513: sample 'a' has no label .*only png"),
        ([("a.cls", b"1")], "'a' has no image .*only cls"),
        ([("a.json", b"{}")], "no image .* and no label .*label_field"),
        ([("a.png", b"x"), ("a.cls", b"one")], "bytes 1536-1539: 'a.cls' has label 'one', exp"),
        (
            [("a.png", b"x"), ("a.cls", b"10")],
            "has label '10', expected a whole number from 0 to 9",
        ),
        ([("a.png", b"x"), ("a.cls", b"-1")], "label '-1', expected"),
        ([("a.png", b"x"), ("a.cls", b"1" * (2**20 + 1))], "a label 'a.cls' of 1048577 bytes"),
        ([("../a.png", b"x"), ("../a.cls", b"1")], "leaves the shard's own folder"),
        ([("/a.png", b"x"), ("/a.cls", b"1")], "leaves the shard's own folder"),
        ([("b/../../a.png", b"x")], "leaves the shard's own folder"),
        ([*PAIR, ("b.png", b"x"), ("b.cls", b"1"), *PAIR], "two samples have the key 'a', the fi"),
        ([*PAIR, ("a.jpg", b"x")], "a second image 'a.jpg' of one sample"),
        ([*PAIR, ("a.cls", b"2")], "a second member 'a.cls'"),
        ([*PAIR, ("A.cls", b"2")], "'A' has no image"),
        ([*PAIR, special("b.png", tarfile.SYMTYPE, "/etc/passwd")], "'b.png' that is a symbolic"),
        ([*PAIR, special("b.png", tarfile.LNKTYPE, "a.png")], "'b.png' that is a hard link"),
        ([*PAIR, special("b.png", tarfile.CHRTYPE)], "'b.png' that is a device"),
        ([*PAIR, special("b.png", tarfile.FIFOTYPE)], "'b.png' that is a pipe"),
    ],
)
def test_what_is_not_a_shard_of_samples(tar_of, stream_of, ten_classes, members, message):
    with pytest.raises(DataError, match=message) as caught:
        index_shard(stream_of(tar_of(*members)), ten_classes)
    assert URL in str(caught.value)


def test_names_that_are_no_text(tar_of, stream_of, ten_classes):
    data = tar_of(("a\udcff.png", b"x"), ("a\udcff.cls", b"1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        index_shard(stream_of(data), ten_classes)


def test_images_of_one_extension_and_labels_of_a_field(tar_of, stream_of):
    members = [
        ("a.jpg", b"small"),
        ("a.png", b"large"),
        ("a.json", b'{"class": "dog"}'),
        ("a.cls", b"not this"),
    ]
    labelling = Labelling(("cat", "dog"), image="png", field="class")
    data = tar_of(*members)
    found = index_shard(stream_of(data), labelling).index
    assert found.labels.tolist() == [1]
    assert data[found.offsets[0] :][:5] == b"large"


def test_a_tar_that_was_cut_anywhere_is_told(tar_of, stream_of, ten_classes):
    whole = tar_of(*PAIR, ("b.png", b"y" * 600), ("b.cls", b"2"))
    end = whole.rindex(b"2") - 1 + 512  # the last block with something in it
    for kept in [*range(0, end, 97), *range(0, end + 1, 512), end, end + 511]:
        with pytest.raises(DataError, match=r"train-000000\.tar"):
            index_shard(stream_of(whole[:kept]), ten_classes)
    assert len(index_shard(stream_of(whole), ten_classes).index) == 2


def test_a_damaged_header_is_no_end(tar_of, stream_of, ten_classes):
    whole = bytearray(tar_of(*PAIR, ("b.png", b"y" * 600), ("b.cls", b"2")))
    whole[512 * 5 + 3] ^= 1
    with pytest.raises(DataError, match=r"damaged tar at byte 2560"):
        index_shard(stream_of(bytes(whole)), ten_classes)


@pytest.mark.parametrize("content", [b"", b"x", b"no tar" * 200, b"\x1f\x8b" + b"x" * 2000])
def test_no_tar(stream_of, ten_classes, content):
    with pytest.raises(DataError, match=r"damaged tar|compressed"):
        index_shard(stream_of(content), ten_classes)


def test_a_large_member_is_passed_in_parts(tar_of, ten_classes):
    data = tar_of(*PAIR, ("a.npy", bytes(10**6)), ("b.png", b"y"), ("b.cls", b"2"))
    held = []

    def parts():
        for start in range(0, len(data), 5000):
            held.append(len(stream._held))
            yield data[start : start + 5000]

    stream = TarStream(URL, len(data), parts())
    assert len(index_shard(stream, ten_classes).index) == 2
    assert max(held) < 20000
