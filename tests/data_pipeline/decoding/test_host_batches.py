import gc
import itertools
import time
import warnings

import numpy as np
import psutil
import pytest

from data_pipeline.decoding import host_batches
from data_pipeline.decoding.host_batches import open_batches
from data_pipeline.shards.manifest import read_manifest
from system.foundation.errors import DataError


def taken(batches, count):
    found = []
    for batch in itertools.islice(batches, count):
        keys = [key for part in batch.parts for key in part.keys]
        found.append((batch.start, batch.image.copy(), batch.label.copy(), keys))
    batches.close()
    return found


@pytest.mark.parametrize("rows_per_task", [32, 4])
@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (2, 3)])
def test_processes_hand_over_what_would_be_decoded_here(
    digits, digits_data, monkeypatch, rows_per_task, workers, prefetch
):
    monkeypatch.setattr(host_batches, "ROWS_PER_TASK", rows_per_task)
    starts = [0, 30, 7, 1400, 2900]
    here = open_batches(digits, digits_data(flip=True), seed=5, starts=iter(starts), rows=11)
    data = digits_data(flip=True, workers=workers, prefetch=prefetch)
    there = open_batches(digits, data, seed=5, starts=iter(starts), rows=11)
    for one, other in zip(taken(here, 9), taken(there, 9), strict=True):
        assert one[0] == other[0]
        assert np.array_equal(one[1], other[1])
        assert np.array_equal(one[2], other[2])
        assert one[3] == other[3]


def test_a_batch_may_be_ready_before_it_is_asked_for(digits, digits_data):
    batches = open_batches(
        digits, digits_data(workers=1), seed=5, starts=iter(range(0, 90, 9)), rows=9
    )
    deadline = time.monotonic() + 60
    while not batches.is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert next(batches).start == 0
    batches.close()
    assert next(batches, None) is None
    here = open_batches(digits, digits_data(), seed=5, starts=iter([0]), rows=9)
    assert not here.is_ready()


def test_a_problem_is_raised_when_its_batch_is_due(digits_copy, digits_data):
    manifest = read_manifest(str(digits_copy)).split("train")
    alone = digits_data(window_shards=1)
    # Positions 0 on are of one shard; the others vanish before anything starts.
    ((_, _, _, keys),) = taken(open_batches(manifest, alone, seed=5, starts=iter([0]), rows=1), 1)
    for shard in manifest.shards:
        if keys[0] not in shard.keys:
            (digits_copy / shard.name).unlink()
    data = digits_data(workers=1, window_shards=1, prefetch=2)
    batches = open_batches(manifest, data, seed=5, starts=iter([0, 5, 120]), rows=5)
    assert [next(batches).start, next(batches).start] == [0, 5]
    with pytest.raises(DataError, match="this shard is gone"):
        next(batches)
    batches.close()


def test_more_tasks_than_a_connection_holds_are_done(digits, digits_data):
    # Both ends would wait for each other: one to give out tasks, the other to give answers.
    data = digits_data(workers=1, prefetch=40)
    batches = open_batches(digits, data, seed=5, starts=iter(range(0, 41 * 1024, 1024)), rows=1024)
    found = [key for part in next(batches).parts for key in part.keys]
    here = open_batches(digits, digits_data(), seed=5, starts=iter([0]), rows=1024)
    ((_, _, _, keys),) = taken(here, 1)
    assert found == keys
    batches.close()


def test_a_stream_of_batches_leaves_nothing_open(digits, digits_data):
    gc.collect()  # what tests before this one have left
    me = psutil.Process()
    open_before, children = me.num_fds(), me.children()
    for is_closed in (True, False):
        batches = open_batches(digits, digits_data(workers=2), seed=5, starts=iter([0]), rows=8)
        next(batches)
        if is_closed:
            batches.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it was left without a word
            del batches
            gc.collect()
        ended = [child for child in me.children() if child not in children]
        assert psutil.wait_procs(ended, 60)[1] == []
        assert me.num_fds() == open_before
