"""The promise of the whole pipeline: every key once per epoch, whatever dies and however often.

Lives of a run are drawn: with so many ranks and decoding processes, so deep a prefetch, so many
micro-batches until it is killed somewhere within a global batch. The next life goes on from the
last cursor that was committed. What all lives delivered must be the stream of one reader that never
died.
"""

import os
import random
import signal
from collections import Counter
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from hypothesis import settings

from data_pipeline.stream.loader import open_stream
from system.foundation.cursor import Cursor
from system.foundation.world import World

GLOBAL_BATCH = 120
SEED = 5
SIZES = (1, 2, 3, 5, 8)
WORKERS = (0, 1, 2, 4)


@dataclass(frozen=True)
class Life:
    """One attempt of a run."""

    size: int
    cuts: int  # micro-batches of a rank's share
    steps: int  # micro-batches until the kill
    committed: int  # global batches of it that a checkpoint kept, at most
    workers: int = 0
    prefetch: int = 1


@st.composite
def lives(draw):
    size = draw(st.sampled_from(SIZES))
    share = GLOBAL_BATCH // size
    cuts = draw(st.sampled_from([n for n in (1, 2, 3, 4, 5) if share % n == 0]))
    return Life(size, cuts, draw(st.integers(0, 3 * cuts)), draw(st.integers(0, 3)))


@pytest.fixture(scope="module")
def undisturbed(digits, digits_data):
    """The first 40 global batches of a reader that never dies."""
    return deliver(
        digits, digits_data(flip=True), Cursor(0, SEED, digits.digest), Life(1, 1, 40, 40)
    )


def deliver(manifest, data, cursor, life):
    """What a life delivers by global batch (those that were whole), and the cursors behind them."""
    data = data.model_copy(update={"workers": life.workers, "prefetch": life.prefetch})
    ranks = [
        open_stream(
            manifest,
            data,
            seed=cursor.seed,
            world=World(rank, life.size),
            global_batch=GLOBAL_BATCH,
            micro_batch=GLOBAL_BATCH // life.size // life.cuts,
            images_seen=cursor.images_seen,
        )
        for rank in range(life.size)
    ]
    whole, steps = [], []
    for number in range(1, life.steps + 1):
        steps.append([next(rank) for rank in ranks])
        if number % life.cuts == 0:
            assert len({each[1] for each in steps[-1]}) == 1
            whole.append((joined(steps), steps[-1][0][1]))
            steps = []
    for rank in ranks:
        rank.close()
    return whole


def joined(steps):
    """Keys, labels and pixels of a global batch in the order of its positions."""
    parts = [step[rank][0] for rank in range(len(steps[0])) for step in steps]
    start = parts[0].position[0].item()
    position = torch.cat([part.position for part in parts])
    assert torch.equal(position, torch.arange(start, start + GLOBAL_BATCH))
    return (
        [key for part in parts for key in part.key],
        torch.cat([part.label for part in parts]),
        torch.cat([part.image for part in parts]),
    )


def assert_same(one, other):
    assert one[0] == other[0]
    assert torch.equal(one[1], other[1])
    assert torch.equal(one[2], other[2])


@settings(max_examples=200, deadline=None)
@given(begun=st.integers(0, 27), plan=st.lists(lives(), min_size=1, max_size=4))
def test_no_kill_and_no_resize_loses_or_repeats_a_sample(
    digits, digits_data, undisturbed, begun, plan
):
    start = begun * GLOBAL_BATCH
    cursor, kept = Cursor(start, SEED, digits.digest), []
    for life in plan:
        whole = deliver(digits, digits_data(flip=True), cursor, life)[: life.committed]
        kept += [batch for batch, _ in whole]
        cursor = whole[-1][1] if whole else cursor
    assert cursor.images_seen == start + len(kept) * GLOBAL_BATCH
    for batch, (expected, _) in zip(kept, undisturbed[begun:], strict=False):
        assert_same(batch, expected)


def test_the_undisturbed_stream_has_every_key_once_per_epoch(digits, undisturbed):
    keys = [key for (batch, _, _), _ in undisturbed for key in batch]
    assert len(keys) > 3 * digits.samples
    for epoch in range(3):
        seen = Counter(keys[epoch * digits.samples : (epoch + 1) * digits.samples])
        assert seen == Counter({key: 1 for shard in digits.shards for key in shard.keys})


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS)
def test_the_global_batch_is_the_same_for_any_cluster(digits, digits_data, undisturbed, workers):
    """From the midst of an epoch to the next, over every number of ranks."""
    start = undisturbed[9][1]
    for size, prefetch in zip(SIZES, (1, 3, 2, 1, 2), strict=True):
        life = Life(size, 1, 5, 5, workers, prefetch)
        for number, (batch, cursor) in enumerate(
            deliver(digits, digits_data(flip=True), start, life)
        ):
            assert_same(batch, undisturbed[10 + number][0])
            assert cursor == undisturbed[10 + number][1]


@pytest.mark.slow
@pytest.mark.chaos
def test_decoding_processes_may_die_at_any_time(digits, digits_data, undisturbed):
    draws = random.Random(0)
    data = digits_data(flip=True, workers=3, prefetch=2)
    stream = open_stream(
        digits,
        data,
        seed=SEED,
        world=World(),
        global_batch=GLOBAL_BATCH,
        micro_batch=GLOBAL_BATCH // 4,
        images_seen=0,
    )
    killed: set[int] = set()
    for expected, _ in undisturbed[:30]:
        steps = []
        for _ in range(4):
            # A dead process is listed until the pool notices; none is killed twice.
            alive = [pid for pid in stream.processes if pid not in killed]
            if draws.random() < 0.15 and alive:
                pid = draws.choice(alive)
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            steps.append([next(stream)])
        assert_same(joined(steps), expected)
    stream.close()
    assert len(killed) >= 10
    # Of those killed at the very end, at most one in each of the three places is still unnoticed.
    noticed = sum(n for name, n in stream.account.counted.items() if "died" in name)
    assert len(killed) - 3 <= noticed <= len(killed)
