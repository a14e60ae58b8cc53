"""Packed to, read from and resumed from an S3 server in bad weather: as if it were a local disk."""

import itertools
import json
import signal
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

from data_pipeline.pack.pack import pack
from data_pipeline.reading.shard_reader import ShardReader
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.loader import open_stream
from system.foundation import storage
from system.foundation.errors import StorageError
from system.foundation.world import World

pytestmark = pytest.mark.slow

# Not "short": only who knows the length of what it asked for can tell; a manifest's reader cannot.
BAD_WEATHER = dict.fromkeys(("error", "throttle", "reset", "half", "slow"), 0.03)
FETCHING = {"timeout_s": 10.0, "attempts": 12, "backoff_s": 0.02, "hedge_after_s": 0.3}
GLOBAL_BATCH = 192
PATIENCE_S = 120.0

PROGRAM = """
import json, sys, xxhash
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.loader import open_stream
from system.foundation.settings.data import Data
from system.foundation.world import World

url, data, images_seen = json.loads(sys.argv[1])
stream = open_stream(
    read_manifest(url).split("train"), Data(**data), seed=5, world=World(), global_batch=96,
    micro_batch=96, images_seen=images_seen,
)
for batch, cursor in stream:
    pixels = xxhash.xxh3_64_hexdigest(batch.image.numpy().tobytes())
    print(json.dumps([cursor.images_seen, batch.position.tolist(), batch.key, pixels]), flush=True)
"""


@pytest.fixture
def data(digits_data):
    """Settings by which every batch asks for ranges of every shard."""

    def settings(workers=2, **changes):
        return digits_data(
            window_shards=1000, workers=workers, flip=True, **({"fetching": FETCHING} | changes)
        )

    return settings


@pytest.fixture
def url(bucket):
    """A place of its own in the bucket."""
    return f"{bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def packed(url, storm, digits_recipe):
    """The digits, packed into the bucket through the storm, and the training split of them."""
    storm.slow_s = 0.6
    storm.weather, storm.next = BAD_WEATHER, ["error"]  # at least one, however few requests
    pack(digits_recipe(url))
    assert storm.faults.total() > 0
    return read_manifest(url).split("train")


def test_what_is_packed_and_read_through_the_storm_is_what_a_disk_holds(
    packed, digits, data, storm, tmp_path
):
    assert packed.digest == digits.digest
    samples = np.random.default_rng(0).permutation(digits.samples)
    expected = ShardReader(digits, data()).read_many(samples)
    cache = {"folder": str(tmp_path), "max_bytes": 10**9}
    for settings in (data(), data(cache=cache), data(cache=cache)):
        storm.faults.clear()
        storm.weather, storm.next = BAD_WEATHER | {"short": 0.05}, ["throttle", "half", "short"]
        reader = ShardReader(packed, settings)
        found = [reader.read_many(part) for part in np.array_split(samples, 12)]
        assert list(itertools.chain.from_iterable(found)) == expected
        is_cached = reader.counters["cache_fills"] == reader.counters["requests"] == 0
        assert is_cached or {"error", "throttle", "half", "short"} & set(storm.faults)
    assert is_cached
    assert len(list(tmp_path.glob("*.shard"))) == len(digits.shards)


def take(manifest, data, world, images_seen, count):
    """Position, key, label and pixels of each row of one rank's next batches, and the cursors."""
    stream = open_stream(
        manifest,
        data,
        seed=5,
        world=world,
        global_batch=GLOBAL_BATCH,
        micro_batch=GLOBAL_BATCH // world.size,
        images_seen=images_seen,
    )
    taken = []
    for batch, cursor in itertools.islice(stream, count):
        pixels = [image.numpy().tobytes() for image in batch.image]
        columns = (batch.position.tolist(), batch.key, batch.label.tolist(), pixels)
        taken.append((list(zip(*columns, strict=True)), cursor))
    assert not stream.account.bad
    stream.close()
    return taken


def test_a_stream_resumed_through_the_storm_loses_and_repeats_nothing(packed, digits, data):
    batches = digits.samples // GLOBAL_BATCH + 2  # into the second epoch
    expected = take(digits, data(workers=0), World(), 0, batches)
    found = []
    for size, workers, count in ((1, 2, 2), (3, 1, 3), (2, 2, batches - 5)):
        images_seen = found[-1][1].images_seen if found else 0
        ranks = [
            take(packed, data(workers), World(rank, size), images_seen, count)
            for rank in range(size)
        ]
        for parts in zip(*ranks, strict=True):
            rows = itertools.chain.from_iterable(rows for rows, _ in parts)
            found.append((list(rows), parts[0][1]))
    assert found == expected


@pytest.mark.chaos
def test_a_program_killed_in_the_storm_goes_on_where_it_was(packed, digits, data):
    def start(manifest, settings, images_seen):
        given = json.dumps([manifest.url, settings.model_dump(mode="json"), images_seen])
        command = [sys.executable, "-c", PROGRAM, given]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def lines(process, count):
        found = [json.loads(line) for line in itertools.islice(process.stdout, count)]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return found

    expected = lines(start(digits, data(workers=0), 0), 9)
    found = []
    for count in (2, 3, 4):
        images_seen = found[-1][0] if found else 0
        found += lines(start(packed, data(), images_seen), count)
    assert found == expected


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fault", ["throttle", "slow"])
def test_storage_that_never_answers_ends_the_stream(digits_url, url, data, storm, workers, fault):
    for name in storage.list_names(digits_url):
        content = storage.read_bytes(storage.join(digits_url, name))
        storage.write_bytes(storage.join(url, name), content)
    manifest = read_manifest(url).split("train")
    storm.slow_s = PATIENCE_S
    storm.weather = {fault: 1.0}
    hurried = {"timeout_s": 1.0, "attempts": 2, "backoff_s": 0.01, "hedge_after_s": None}
    started = time.monotonic()
    with pytest.raises(StorageError) as caught:
        take(manifest, data(workers, fetching=hurried), World(), 0, 1)
    assert time.monotonic() - started < PATIENCE_S / 2
    for part in (f"{url}/train-", " bytes ", "2 attempts failed", "data.fetching"):
        assert part in str(caught.value)
