import subprocess
import sys

import numpy as np
import pytest

import data_pipeline.reading.shard_reader as module
from data_pipeline.images.decode import BadSample
from data_pipeline.reading.shard_reader import ShardReader
from data_pipeline.shards.manifest import read_manifest
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.errors import StorageError


def slow_way(manifest, sample):
    """A sample's bytes by one plain read."""
    shard, row = manifest.locate(sample)
    start, length = int(shard.offsets[row]), int(shard.lengths[row])
    return storage.read_bytes(storage.join(manifest.url, shard.name))[start : start + length]


@pytest.fixture(params=["whole", "ranged"])
def way(request, monkeypatch):
    """Both ways of reading a shard."""
    if request.param == "ranged":
        monkeypatch.setattr(module, "SHARD_CACHE_BYTES", 0)
    return request.param


@pytest.fixture
def elsewhere(digits_url):
    """The same shards in storage that is not a local disk."""
    target = "memory://elsewhere/digits"
    for name in storage.list_names(digits_url):
        data = storage.read_bytes(storage.join(digits_url, name))
        storage.write_bytes(storage.join(target, name), data)
    yield target
    storage.remove("memory://elsewhere")


@pytest.mark.usefixtures("way")
def test_every_sample_in_any_order_is_what_a_plain_read_gives(digits, elsewhere, digits_data):
    samples = np.random.default_rng(0).permutation(digits.samples)[:150]
    samples[3] = samples[77]  # the same one twice
    expected = [slow_way(digits, sample) for sample in samples.tolist()]
    for manifest in (digits, read_manifest(elsewhere).split("train")):
        reader = ShardReader(manifest, digits_data())
        assert reader.read_many(samples) == expected
        assert reader.read_many(samples[5:9]) == expected[5:9]
        assert reader.read_many(samples[:0]) == []
        assert reader.read(int(samples[3])) == expected[3]


def test_ranges_that_lie_close_together_are_one_request(elsewhere, digits_data, monkeypatch):
    monkeypatch.setattr(module, "SHARD_CACHE_BYTES", 0)
    manifest = read_manifest(elsewhere).split("train")
    reader = ShardReader(manifest, digits_data())
    reader.read_many(np.arange(manifest.samples))
    assert reader.counters["requests"] == len(manifest.shards)
    held = sum(int(shard.lengths.sum()) for shard in manifest.shards)
    assert held < reader.counters["bytes"] < manifest.bytes


@pytest.mark.usefixtures("way")
def test_a_damaged_sample_is_bad_and_its_neighbours_are_not(digits_copy, digits_data, damage):
    manifest = read_manifest(str(digits_copy)).split("train")
    damage(digits_copy, manifest, 7)
    reader = ShardReader(manifest, digits_data())
    before, bad, after = reader.read_many(np.array([6, 7, 8]))
    assert isinstance(bad, BadSample)
    assert str(bad) == "bytes differ from those packed"
    assert before == slow_way(manifest, 6)
    assert after == slow_way(manifest, 8)
    with pytest.raises(BadSample, match="bytes differ"):
        reader.read(7)


@pytest.mark.usefixtures("way")
def test_a_shard_that_vanished_is_named(digits_copy, digits_data):
    manifest = read_manifest(str(digits_copy)).split("train")
    (digits_copy / "train-000000.tar").unlink()
    with pytest.raises(DataError, match=r"train-000000\.tar: this shard is gone"):
        ShardReader(manifest, digits_data()).read(0)


@pytest.mark.usefixtures("way")
def test_a_shard_that_was_cut_short_is_named(digits_copy, digits_data):
    manifest = read_manifest(str(digits_copy)).split("train")
    with (digits_copy / "train-000000.tar").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(StorageError, match=r"train-000000\.tar bytes .*the file ends early"):
        ShardReader(manifest, digits_data()).read(50)


def test_whole_shards_are_kept_within_the_budget(digits_copy, digits_data, monkeypatch):
    manifest = read_manifest(str(digits_copy)).split("train")
    monkeypatch.setattr(module, "SHARD_CACHE_BYTES", 2 * manifest.shards[0].bytes)
    reader = ShardReader(manifest, digits_data(window_shards=2))
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


def test_more_shards_than_fit_in_memory_come_in_one_call(digits, digits_data, monkeypatch):
    monkeypatch.setattr(module, "SHARD_CACHE_BYTES", 2 * max(s.bytes for s in digits.shards))
    reader = ShardReader(digits, digits_data(window_shards=2))
    found = reader.read_many(np.arange(digits.samples))
    assert found[0] == slow_way(digits, 0)
    assert found[-1] == slow_way(digits, digits.samples - 1)
    assert not any(isinstance(each, BadSample) for each in found)


def test_what_is_waited_for_is_said(elsewhere, digits_data):
    said = []
    manifest = read_manifest(elsewhere).split("train")
    ShardReader(manifest, digits_data(), said.append).read(0)
    place = f"{elsewhere}/{manifest.shards[0].name} bytes 0-{manifest.shards[0].bytes}"
    assert said == [f"reading {place}, attempt 1 of 6"]


def test_decoding_processes_need_not_import_torch():
    program = (
        "import sys, data_pipeline.reading.shard_reader;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'webdataset', 'ray')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
