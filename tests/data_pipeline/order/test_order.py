import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from hypothesis import settings

from data_pipeline.order.order import Order

COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=7)
WINDOWS = st.integers(1, 9)
SEEDS = st.integers(0, 2**31)


@settings(deadline=None)  # the machine may be busy
@given(COUNTS, WINDOWS, SEEDS, st.integers(0, 50))
def test_every_epoch_is_a_permutation(counts, window, seed, epoch):
    order = Order(counts, seed, window)
    size = sum(counts)
    samples = order.samples(epoch * size, (epoch + 1) * size)
    assert sorted(samples) == list(range(size))


@settings(deadline=None)  # the machine may be busy
@given(COUNTS, WINDOWS, SEEDS, st.data())
def test_a_range_does_not_depend_on_how_it_is_asked_for(counts, window, seed, data):
    size = sum(counts)
    start = data.draw(st.integers(0, 3 * size))
    stop = data.draw(st.integers(start, start + 2 * size))
    whole = Order(counts, seed, window).samples(start, stop)
    asked = Order(counts, seed, window)
    backwards = [int(asked.samples(p, p + 1)[0]) for p in reversed(range(start, stop))]
    assert whole.tolist() == backwards[::-1]


@settings(deadline=None)  # the machine may be busy
@given(COUNTS, WINDOWS, SEEDS)
def test_a_window_holds_the_samples_of_its_shards_alone(counts, window, seed):
    size = sum(counts)
    samples = Order(counts, seed, window).samples(0, size)
    shard_of = np.repeat(np.arange(len(counts)), counts)[samples]
    seen, place = [], 0
    while place < size:
        # Count how many distinct shards it takes until exactly those shards are used up.
        stop = place
        while True:
            stop += 1
            shards = set(shard_of[place:stop].tolist())
            if sum(counts[shard] for shard in shards) == stop - place:
                break
        assert len(shards) <= window
        seen += sorted(shards)
        place = stop
    assert sorted(seen) == list(range(len(counts)))


def test_epochs_seeds_and_windows_differ():
    size = 400
    first = Order([100] * 4, 0, 2).samples(0, size)
    second = Order([100] * 4, 0, 2).samples(size, 2 * size)
    other = Order([100] * 4, 1, 2).samples(0, size)
    assert (first != second).mean() > 0.9
    assert (first != other).mean() > 0.9


def test_the_order_is_the_recorded_one():
    # A change here means that no run can be resumed as the run it was.
    samples = Order([3, 4, 2], seed=7, window_shards=2).samples(0, 18)
    assert samples.tolist() == [7, 0, 1, 2, 8, 6, 4, 3, 5, 3, 6, 4, 7, 8, 5, 1, 0, 2]
