import fcntl
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import data_pipeline.reading.disk_cache as module
import data_pipeline.reading.shard_reader as shard_reader
from data_pipeline.images.decode import BadSample
from data_pipeline.reading.shard_reader import ShardReader
from data_pipeline.shards.manifest import read_manifest
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from system.foundation.settings.data import DiskCache

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def large(monkeypatch):
    """Shards count as too large to be kept in memory."""
    monkeypatch.setattr(shard_reader, "SHARD_CACHE_BYTES", 0)


@pytest.fixture
def manifest(digits_copy):
    return read_manifest(str(digits_copy)).split("train")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def reader(manifest, digits_data, folder):
    """A reader with a cache that holds so many of its shards."""

    def make(shards=100):
        largest = max(shard.bytes for shard in manifest.shards)
        cache = {"folder": str(folder), "max_bytes": shards * largest}
        return ShardReader(manifest, digits_data(cache=cache))

    return make


@pytest.fixture
def expected(digits, digits_data):
    """The bytes of every sample, by way of no cache."""
    return ShardReader(digits, digits_data()).read_many(np.arange(digits.samples))


def kept(folder):
    return {path.name.removesuffix(".shard") for path in folder.glob("*.shard")}


def size(folder):
    """Bytes of what is kept or being filled; a file may go while we look."""
    found = 0
    for path in folder.iterdir():
        try:
            found += path.stat().st_size
        except FileNotFoundError:
            continue
    return found


def age(folder, seconds=3600):
    """Let the shards that are kept have been used long ago."""
    for path in folder.glob("*.shard"):
        os.utime(path, (time.time() - seconds,) * 2)


def first_of(manifest, shard):
    return int(manifest.first[shard])


def test_a_shard_is_fetched_once_for_all_readers(reader, manifest, digits_copy, folder, expected):
    first, second = reader(), reader()
    samples = np.random.default_rng(0).permutation(manifest.samples)
    in_order = [expected[sample] for sample in samples]
    assert first.read_many(samples) == in_order
    assert kept(folder) == {shard.digest for shard in manifest.shards}
    assert first.counters["cache_fills"] == len(manifest.shards)
    assert first.counters["bytes"] == manifest.bytes
    for path in digits_copy.glob("*.tar"):
        path.unlink()
    assert first.read_many(samples) == second.read_many(samples) == in_order
    assert second.counters.total() == 0
    assert {path.suffix for path in folder.iterdir()} == {".shard", ""}


def test_small_shards_come_through_the_cache_too(reader, manifest, folder, expected, monkeypatch):
    monkeypatch.setattr(shard_reader, "SHARD_CACHE_BYTES", 10**9)
    assert reader().read_many(np.arange(manifest.samples)) == expected
    again = reader()
    assert again.read_many(np.arange(manifest.samples)) == expected
    assert again.counters["requests"] == 0


def test_the_least_recently_used_go(reader, manifest, folder, expected):
    cached = reader(shards=2)
    digests = [shard.digest for shard in manifest.shards]
    for shard in (0, 1):
        cached.read(first_of(manifest, shard))
    age(folder)
    cached.read(first_of(manifest, 0))
    assert cached.read(first_of(manifest, 2)) == expected[first_of(manifest, 2)]
    assert kept(folder) == {digests[0], digests[2]}
    assert cached.counters["cache_evictions"] == 1


def test_what_is_in_use_stays_and_the_rest_is_read_without_the_cache(
    reader, manifest, folder, expected
):
    cached = reader(shards=2)
    for sample in np.arange(manifest.samples).reshape(-1, 1)[::7]:
        assert cached.read_many(sample) == [expected[int(sample[0])]]
    assert kept(folder) == {shard.digest for shard in manifest.shards[:2]}
    assert cached.counters["cache_evictions"] == 0


def test_a_shard_that_another_process_fills_is_read_without_the_cache(
    reader, manifest, folder, expected, monkeypatch
):
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    cached = reader()
    unfinished = folder / f"{manifest.shards[0].digest}.part"
    with unfinished.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert cached.read(0) == expected[0]
        reader()  # a process that starts meanwhile takes nothing away
        assert unfinished.exists()
    assert kept(folder) == set()
    assert cached.read(1) == expected[1]
    assert kept(folder) == {manifest.shards[0].digest}


def test_what_others_are_filling_counts(reader, manifest, folder):
    cached = reader(shards=2)
    other = folder / f"{'0' * 32}.part"
    with other.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(2 * manifest.shards[0].bytes - 10)
        cached.read(0)
        assert kept(folder) == set()


def test_leftovers_of_killed_processes_are_removed(reader, manifest, folder, expected):
    folder.mkdir()
    for name in ("0" * 32, manifest.shards[0].digest):
        (folder / f"{name}.part").write_bytes(b"half")
    for name in ("mine.part", "mine.shard", "mine.tar"):
        (folder / name).write_bytes(b"not the cache's")
    cached = reader(shards=1)
    assert sorted(path.name for path in folder.iterdir() if path.suffix) == [
        "mine.part",
        "mine.shard",
        "mine.tar",
    ]
    (folder / f"{manifest.shards[0].digest}.part").write_bytes(b"half")
    assert cached.read(0) == expected[0]
    assert kept(folder) == {"mine", manifest.shards[0].digest}


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_file_that_the_disk_damaged_is_read_anew(
    reader, manifest, folder, expected, damage, caplog, monkeypatch
):
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    cached = reader()
    assert cached.read(5) == expected[5]
    [path] = folder.glob("*.shard")
    content = bytearray(path.read_bytes())
    content[int(manifest.shards[0].offsets[5]) + 20] ^= 1
    damaged = {"flipped": content, "cut": content[: len(content) // 50], "empty": b""}
    path.write_bytes(damaged[damage])
    assert cached.read_many(np.array([4, 5])) == expected[4:6]
    assert cached.counters["cache_corrupt"] == 1
    assert "is damaged in" in caplog.text
    assert not path.exists()
    assert cached.read_many(np.array([4, 5])) == expected[4:6]
    assert cached.counters["cache_fills"] == 2
    assert path.stat().st_size == manifest.shards[0].bytes


def test_a_shard_that_is_damaged_is_not_kept(
    reader, manifest, digits_copy, folder, expected, caplog, monkeypatch
):
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    with (digits_copy / manifest.shards[0].name).open("r+b") as file:
        file.seek(int(manifest.shards[0].offsets[5]))
        file.write(b"?")
    cached = reader()
    for _ in range(2):
        found = cached.read_many(np.arange(10))
        assert isinstance(found[5], BadSample)
        assert found[:5] + found[6:] == expected[:5] + expected[6:10]
    assert kept(folder) == set()
    assert size(folder) == 0
    assert caplog.text.count("differs from its manifest, and is not cached") == 1
    assert cached.counters["bytes"] < 1.5 * manifest.shards[0].bytes


def test_a_sample_that_its_shard_holds_wrong_leaves_the_cache_as_it_is(
    reader, manifest, folder, monkeypatch
):
    cached = reader()
    cached.read(0)
    manifest.shards[0].index.digests[3] ^= np.uint64(1)
    try:
        [found] = cached.read_many(np.array([3]))
    finally:
        manifest.shards[0].index.digests[3] ^= np.uint64(1)
    assert isinstance(found, BadSample)
    assert kept(folder) == {manifest.shards[0].digest}
    assert cached.counters["cache_corrupt"] == 0


def test_a_budget_below_one_shard_is_refused(reader, folder):
    with pytest.raises(
        DataError, match=r"data\.cache\.max_bytes .* is less than the .* bytes of .*train-"
    ):
        reader(shards=0.5)
    assert not folder.exists()


def test_a_folder_that_cannot_be_is_refused(reader, folder):
    folder.write_text("a file stands here")
    with pytest.raises(BadInput, match=r"data\.cache\.folder .* cannot be written"):
        reader()


def check_full(cached, manifest, folder, expected, caplog):
    for shard in range(3):
        sample = first_of(manifest, shard)
        assert cached.read(sample) == expected[sample]
    assert caplog.text.count("is full") == 1
    assert list(folder.glob("*.part")) == []
    assert cached.counters["cache_fills"] == len(kept(folder))


def test_a_disk_without_room_is_said_once(reader, manifest, folder, expected, caplog):
    cached = reader()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (manifest.shards[0].bytes // 2, limits[1]))
    try:
        check_full(cached, manifest, folder, expected, caplog)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert kept(folder) == set()


def test_a_full_disk_keeps_what_is_there(reader, manifest, folder, expected, caplog):
    folder.mkdir()
    options = f"size={int(1.5 * manifest.shards[0].bytes) // 1024}k"
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("only root may mount a small disk, as in CI; a limit fills one above")
    try:
        check_full(reader(), manifest, folder, expected, caplog)
        assert kept(folder) == {manifest.shards[0].digest}
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.chaos
def test_a_process_killed_while_it_fills_leaves_nothing(reader, manifest, folder, storm, bucket):
    """The process waits for the last part of a shard, and is killed there."""
    storm.slow_s = PATIENCE_S
    storm.weather = {"slow": 1.0}
    program = (
        "from data_pipeline.reading.disk_cache import *\n"
        "from system.foundation.settings.data import Fetching\n"
        f"cache = ShardCache(DiskCache(folder={str(folder)!r}, max_bytes=10**6), "
        "Fetcher(Fetching()))\n"
        f"cache.read(StoredShard('{bucket}/a', 1000, '{'0' * 32}'), [(0, 1)])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    end = time.monotonic() + PATIENCE_S
    unfinished = folder / f"{'0' * 32}.part"
    while time.monotonic() < end and not (unfinished.exists() and storm.requests["GET"]):
        time.sleep(0.01)
    reader()
    assert unfinished.stat().st_size == 1000
    process.send_signal(signal.SIGKILL)
    process.wait()
    reader()
    assert not unfinished.exists()


def read_all(url, data, seed):
    """A process that reads at random through a cache that is much too small."""
    shard_reader.SHARD_CACHE_BYTES = 0
    module.IN_USE_S = module.RETRY_S = 0.0
    manifest = read_manifest(url).split("train")
    cached = ShardReader(manifest, data)
    plain = ShardReader(manifest, data.model_copy(update={"cache": DiskCache()}))
    draws = np.random.default_rng(seed)
    for _ in range(60):
        samples = draws.integers(0, manifest.samples, 5)
        assert cached.read_many(samples) == plain.read_many(samples)
    assert cached.counters["cache_fills"] > 0
    assert cached.counters["cache_corrupt"] == 0


def test_many_processes_share_a_budget(manifest, digits_data, folder):
    max_bytes = int(2.5 * max(shard.bytes for shard in manifest.shards))
    data = digits_data(cache={"folder": str(folder), "max_bytes": max_bytes})
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=read_all, args=(manifest.url, data, seed)) for seed in range(3)
    ]
    for process in processes:
        process.start()
    most = 0
    while any(process.is_alive() for process in processes):
        if Path(folder).exists():
            most = max(most, size(folder))
        time.sleep(0.002)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert 0 < most <= max_bytes
    assert list(folder.glob("*.part")) == []
