import json
from itertools import pairwise
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.pack.plan import first_of_each_key
from data_pipeline.pack.plan import plan
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.recipe import Square
from data_pipeline.pack.tar_shard import TarShard
from data_pipeline.sources.entry import Entry
from data_pipeline.sources.source import Digits
from data_pipeline.sources.source import open_source
from system.foundation.config import resolve
from system.foundation.errors import DataError

ROOT = Path(__file__).parents[3]


def recipe(**changes):
    return PackRecipe(source=Digits(), out="unused", **changes)


def entries(count, **changes):
    return [Entry(f"key{index}", index % 3, "jpg", 1000, **changes) for index in range(count)]


def shards(recipe, entries):
    return [(shard.name, shard.split, shard.entries) for shard in plan(recipe, entries)]


def test_the_order_of_the_source_does_not_matter():
    there, here = entries(50), entries(50)[::-1]
    options = recipe(shard_samples=7, held_out_fraction=0.3)
    assert shards(options, there) == shards(options, here)


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=60),
    st.integers(1, 9) | st.none(),
    st.integers(1, 20000),
)
def test_every_image_is_in_one_shard_and_shards_keep_their_bounds(lengths, samples, size):
    given_ = [Entry(f"k{i}", 0, "jpg", length) for i, length in enumerate(lengths)]
    found = shards(recipe(shard_samples=samples, shard_bytes=size), given_)
    assert sorted(e.key for _, _, part in found for e in part) == sorted(e.key for e in given_)
    for _, _, part in found:
        assert samples is None or len(part) <= samples
        tar = TarShard()
        for entry in part:
            tar.add(entry.key, entry.extension, bytes(entry.length), entry.label)
        assert tar.size <= size or len(part) == 1


def test_blocks_stay_together():
    mixed = [Entry(f"k{i}", 0, "jpg", 1, block=f"group{i % 4}") for i in range(40)]
    ((_, _, part),) = shards(recipe(shard_samples=100), mixed)
    blocks = [entry.block for entry in part]
    assert len([1 for one, other in pairwise(blocks) if one != other]) == 3
    assert [e.key for e in part[:10]] != sorted(e.key for e in part[:10])


def test_splits_of_the_source_are_kept():
    own = [*entries(3, split="train"), Entry("k", 0, "jpg", 1, split="held_out")]
    names = [(name, len(part)) for name, _, part in shards(recipe(), own)]
    assert names == [("train-000000.tar", 3), ("held_out-000000.tar", 1)]
    with pytest.raises(DataError, match="digits has splits of its own"):
        shards(recipe(held_out_fraction=0.1), own)


def test_a_share_is_held_out():
    found = shards(recipe(held_out_fraction=0.25), entries(1000))
    held_out = [len(part) for _, split, part in found if split == "held_out"]
    assert 200 < sum(held_out) < 300


def test_squares_are_cut_by_an_estimate():
    options = recipe(store=Square(size=100), shard_samples=None, shard_bytes=200_000)
    sizes = [len(part) for _, _, part in shards(options, entries(50))]
    assert set(sizes[:-1]) == {10}


def test_the_first_of_each_key_is_kept():
    first, second = Entry("a", 0, "png", 1), Entry("a", 1, "jpg", 1)
    other = Entry("b", 0, "png", 1)
    assert first_of_each_key([first, other, second]) == ([first, other], [(second, first)])


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("digits", "435c9fe8d2dde3e0446123ac1202957c"),
        ("photographs", "3e67152b97f342d862cf28df7797e518"),
    ],
)
def test_the_order_that_recorded_runs_have_seen(name, digest):
    """Numbers of runs on what is bundled were recorded with these keys in these shards."""
    recipe = resolve(ROOT / f"configs/pack_{name}.yaml", [], PackRecipe).recipe
    planned = plan(recipe, open_source(recipe.source).entries)
    shards = sorted([shard.name, [entry.key for entry in shard.entries]] for shard in planned)
    assert xxhash.xxh3_128_hexdigest(json.dumps(shards).encode()) == digest
