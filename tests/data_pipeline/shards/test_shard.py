from dataclasses import replace

import pytest

from data_pipeline.shards.columns import RowGroup
from data_pipeline.shards.shard import make_shard
from data_pipeline.shards.shard import split_counts
from system.foundation.errors import DataError
from tests.data_pipeline.manifests import make_index


def test_a_shard_in_memory_has_what_its_rows_say():
    index = make_index(0, 7)
    shard = make_shard("train-000000.tar", "train", 10240, "d" * 32, index)
    assert (shard.samples, shard.bytes, shard.split) == (7, 10240, "train")
    assert shard.index is index
    assert shard.index_digest == index.digest
    assert shard.keys == index.keys
    assert shard.labels is index.labels
    assert shard.offsets is index.offsets
    assert shard.lengths is index.lengths
    assert shard.digests is index.digests
    assert "rows" not in repr(shard)


def test_a_shard_on_disk_reads_its_rows_when_asked(digits):
    shard = digits.shards[2]
    assert isinstance(shard.rows, RowGroup)
    assert shard.keys[3] == digits.key(203)
    assert shard.index.digest == shard.index_digest
    with pytest.raises(DataError, match="changed or damaged"):
        _ = replace(shard, index_digest="0" * 32).labels


def test_the_samples_of_both_splits_are_told():
    shards = [make_shard(f"{n}.tar", "train", 1024, "d" * 32, make_index(n, n)) for n in (2, 3)]
    assert split_counts(shards) == "5 in 2 shards to train on, 0 in 0 shards held out"
