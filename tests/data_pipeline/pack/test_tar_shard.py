import io
import tarfile

import pytest
import webdataset
import xxhash

from data_pipeline.pack.tar_shard import TarShard
from data_pipeline.pack.tar_shard import header

SAMPLES = [
    ("n01440764/n01440764_10026", "jpeg", b"x" * 1000, 7),
    ("short", "png", b"", 0),
    ("before/the/label", "bmp", b"y" * 512, 12345),
    ("long/" * 25 + "name", "webp", b"z" * 513, 3),
    ("n" * 95, "jpg", b"at the edge", 4),
    ("n" * 96, "jpg", b"past the edge", 4),
    ("Bär/großes Tier", "jpg", b"umlaut", 1),
]


def written():
    tar = TarShard()
    for sample in SAMPLES:
        tar.add(*sample)
    digest = tar.finish()
    return tar, digest, b"".join(tar.parts)


def test_the_bytes_are_those_of_webdataset():
    _, _, data = written()
    target = io.BytesIO()
    with webdataset.TarWriter(target, user="", group="", encoder=False, mtime=0) as tar:
        for key, extension, image, label in SAMPLES:
            tar.write({"__key__": key, extension: image, "cls": str(label).encode()})
    assert data == target.getvalue()


def test_the_index_is_true():
    tar, digest, data = written()
    index = tar.index()
    assert [*index.keys] == [key for key, *_ in SAMPLES]
    assert index.labels.tolist() == [label for *_, label in SAMPLES]
    assert tar.size == len(data)
    assert digest == xxhash.xxh3_128_hexdigest(data)
    for row, (_, _, image, _) in enumerate(SAMPLES):
        start, length = int(index.offsets[row]), int(index.lengths[row])
        assert data[start : start + length] == image
        assert index.digests[row] == xxhash.xxh3_64_intdigest(image)


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 2**40])
def test_headers_of_any_size(size):
    member = tarfile.TarInfo("a/b.jpg")
    member.size, member.mode = size, 0o444
    assert header("a/b.jpg", size) == member.tobuf(tarfile.PAX_FORMAT)


def test_an_empty_one_has_an_empty_index():
    assert len(TarShard().index()) == 0
