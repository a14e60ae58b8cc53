import threading

import pytest

from data_pipeline.images.decode import BadSample
from data_pipeline.pack.pack_shard import pack_shard
from data_pipeline.pack.plan import PlannedShard
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.recipe import Square
from data_pipeline.sources.entry import Entry
from data_pipeline.sources.source import Digits
from data_pipeline.tars.index import index_shard
from data_pipeline.tars.labelling import Labelling
from data_pipeline.tars.tar_stream import TarStream
from system.foundation.errors import DataError


class Images:
    """A reader of images in memory, that knows how many reads were under way at once."""

    def __init__(self, images, concurrency=1):
        self.images = images
        self.concurrency = concurrency
        self.most = 0
        self._reading = 0
        self._lock = threading.Lock()

    def where(self, entry):
        return f"memory of {entry.key}"

    def read(self, entry):
        with self._lock:
            self._reading += 1
            self.most = max(self.most, self._reading)
        try:
            data = self.images[entry.key]
            if data is None:
                raise BadSample("unreadable: permission denied")
            return data
        finally:
            with self._lock:
                self._reading -= 1


def planned(images, extension="jpg"):
    entries = [
        Entry(key, row, extension, len(data or b""))
        for row, (key, data) in enumerate(images.items())
    ]
    return PlannedShard("train-000000.tar", "train", tuple(entries))


def recipe(tmp_path, **changes):
    return PackRecipe(source=Digits(), out=str(tmp_path), **({"max_bad_fraction": 0.9} | changes))


@pytest.fixture
def images(photographs, jpeg):
    return {f"key{i}": jpeg(photographs[0][i : i + 30, : 30 + i]) for i in range(40)}


def test_a_shard_lies_at_its_place_and_its_rows_are_known(images, tmp_path):
    packed = pack_shard(planned(images), recipe(tmp_path), Images(images), 40)
    path = tmp_path / "train-000000.tar"
    stream = TarStream(str(path), path.stat().st_size, [path.read_bytes()])
    found = index_shard(stream, Labelling(tuple(map(str, range(1000)))))
    assert packed.shard.digest == found.digest
    assert packed.shard.index_digest == found.index.digest
    assert packed.shard.bytes == path.stat().st_size
    assert packed.report.packed == 40
    assert packed.read == sum(map(len, images.values()))
    assert len(packed.sizes) == 2


def test_many_reads_at_once_change_nothing(images, tmp_path):
    one = pack_shard(planned(images), recipe(tmp_path / "a"), Images(images), 40)
    reader = Images(images, concurrency=8)
    many = pack_shard(planned(images), recipe(tmp_path / "b"), reader, 40)
    assert reader.most <= 8
    assert many.shard.digest == one.shard.digest
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["train-000000.tar"]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_bad_ones_are_left_out(images, tmp_path, concurrency):
    images |= {"key3": None, "key5": b"", "key7": b"<html>"}
    packed = pack_shard(planned(images), recipe(tmp_path), Images(images, concurrency), 40)
    assert {bad["key"]: bad["reason"] for bad in packed.report.left_out} == {
        "key3": "unreadable: permission denied",
        "key5": "zero bytes",
        "key7": "not an image",
    }
    assert packed.shard.samples == packed.report.packed == 37
    assert packed.report.left_out[0] == {
        "key": "key3",
        "place": "memory of key3",
        "split": "train",
        "reason": "unreadable: permission denied",
    }


def test_nothing_usable_is_no_shard(tmp_path):
    images = {"a": b""}
    packed = pack_shard(planned(images), recipe(tmp_path), Images(images), 100)
    assert packed.shard is None
    assert not list(tmp_path.iterdir())


def test_it_stops_where_it_alone_is_past_the_bound(images, tmp_path):
    images |= {"key3": b"", "key5": b"", "key7": b""}
    options = recipe(tmp_path, max_bad_fraction=0.03)
    packed = pack_shard(planned(images), options, Images(images), 40)
    assert packed.shard is None
    assert [row["key"] for row in packed.report.left_out] == ["key3", "key5"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="2 of 40 images"):
        packed.report.check(str(tmp_path))


def test_an_image_that_nothing_names_is_named_by_its_bytes(images, tmp_path):
    packed = pack_shard(planned(images, extension=""), recipe(tmp_path), Images(images), 40)
    data = (tmp_path / "train-000000.tar").read_bytes()
    assert b"key0.jpeg\0" in data
    assert packed.report.unusual == []


def test_squares(images, tmp_path):
    options = recipe(tmp_path, store=Square(size=16, format="webp"))
    packed = pack_shard(planned(images), options, Images(images), 40)
    assert packed.sizes == ((16, 16),)
    assert b"key0.webp\0" in (tmp_path / "train-000000.tar").read_bytes()
