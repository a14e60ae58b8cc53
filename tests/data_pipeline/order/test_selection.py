from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings

from data_pipeline.order.order import Order
from data_pipeline.order.selection import Balanced
from data_pipeline.order.selection import Subset
from data_pipeline.order.selection import choose
from system.foundation.errors import DataError
from system.foundation.settings.data import Selection


def order_of(manifest, selection, seed=3, window=2):
    counts = [shard.samples for shard in manifest.shards]
    return Order(counts, seed, window, choose(manifest, selection, seed))


def test_all_samples_need_no_choice(digits):
    assert choose(digits, Selection(), 0) is None


def test_a_subset_holds_the_classes_that_were_named(digits):
    order = order_of(digits, Selection(classes=(2, 7)))
    seen = order.samples(0, 2 * order.samples_per_epoch)
    wanted = np.flatnonzero(np.isin(digits.labels, [2, 7]))
    for epoch in np.split(seen, 2):
        assert sorted(epoch) == wanted.tolist()


def test_a_number_of_each_class_is_chosen_by_keys_alone(digits):
    order = order_of(digits, Selection(per_class=5), seed=1)
    chosen = np.sort(order.samples(0, order.samples_per_epoch))
    assert Counter(digits.labels[chosen].tolist()) == dict.fromkeys(range(10), 5)
    other_seed = order_of(digits, Selection(per_class=5), seed=2)
    assert chosen.tolist() == sorted(other_seed.samples(0, 50))
    fewer = order_of(digits, Selection(per_class=2))
    assert set(fewer.samples(0, 20).tolist()) < set(chosen.tolist())


@pytest.mark.parametrize(("balance", "quota"), [("undersample", min), ("oversample", max)])
def test_balanced_epochs_have_as_many_of_each_class(digits, balance, quota):
    sizes = Counter(digits.labels.tolist())
    wanted = quota(sizes.values())
    assert len(set(sizes.values())) > 1
    order = order_of(digits, Selection(balance=balance))
    assert order.samples_per_epoch == 10 * wanted
    for epoch in range(3):
        seen = order.samples(epoch * 10 * wanted, (epoch + 1) * 10 * wanted)
        assert Counter(digits.labels[seen].tolist()) == dict.fromkeys(range(10), wanted)
        times = Counter(seen.tolist())
        assert max(times.values()) == (1 if balance == "undersample" else 2)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(0, 1000),
)
def test_balanced_epochs_use_every_member_equally_often(labels, quota, seed):
    labels = np.array(labels, np.int32)
    balanced = Balanced(np.arange(len(labels)), labels, quota, seed)
    epochs = [balanced.epoch(number) for number in range(10)]
    assert {len(epoch) for epoch in epochs} == {balanced.samples_per_epoch}
    assert all((np.diff(epoch) >= 0).all() for epoch in epochs)
    times = np.bincount(np.concatenate(epochs), minlength=len(labels))
    for label in np.unique(labels):
        assert np.ptp(times[labels == label]) <= 1


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_choice_keeps_samples_in_the_windows_of_their_shards(data):
    counts = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    size = sum(counts)
    chosen = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    order = Order(counts, 5, 2, Subset(np.array(sorted(chosen))))
    epochs = 3
    seen = order.samples(0, epochs * len(chosen))
    shard_of = np.repeat(np.arange(len(counts)), counts)
    for epoch in np.split(seen, epochs):
        assert sorted(epoch) == sorted(chosen)
        # Windows come one after another: no shard comes back once two others have been left.
        visits = [shard_of[sample] for sample in epoch]
        spans = {shard: [i for i, each in enumerate(visits) if each == shard] for shard in visits}
        between = [len(set(visits[min(places) : max(places) + 1])) for places in spans.values()]
        assert max(between) <= 2


def test_a_selection_that_leaves_nothing_is_refused(digits):
    empty = digits.split("train")
    with pytest.raises(DataError, match=r"classes names \[10\], expected labels of 0 to 9"):
        choose(empty, Selection(classes=(3, 10)), 0)
    with pytest.raises(DataError, match="leaves none of"):
        choose(empty, Selection(classes=()), 0)


def test_a_class_without_samples_is_told(photos):
    named = photos.labels.tolist()
    assert set(named) == {0, 1, 2}
    wider = replace(photos, class_names=(*photos.class_names, "moon"))
    with pytest.raises(DataError, match=r"names \[3\], of which there is no sample"):
        choose(wider, Selection(classes=(1, 3)), 0)
