"""Manifests of shards that do not exist, of any size: for planning, and for readers of rows."""

import json

import numpy as np
import pyarrow.parquet as pq

from data_pipeline.shards.columns import ShardIndex
from data_pipeline.shards.columns import encode
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.shard import make_shard

CLASSES = 1000


def make_index(first, samples):
    """Rows as ImageNet's: keys of two parts, labels of 1,000 classes, images of about 110 kB."""
    draws = np.random.default_rng(first)
    labels = draws.integers(0, CLASSES, samples, np.int32)
    lengths = draws.integers(50_000, 170_000, samples, np.int64)
    return ShardIndex(
        tuple(f"n{label:08d}/n{label:08d}_{first + row}" for row, label in enumerate(labels)),
        labels,
        np.cumsum(lengths + 1536) - lengths,
        lengths,
        draws.integers(0, 2**64, samples, np.uint64),
    )


def make_manifest(samples, shard_samples, url="memory://made"):
    """A manifest in memory of one split; `write_manifest` puts it at its url."""
    shards = []
    for number, first in enumerate(range(0, samples, shard_samples)):
        index = make_index(first, min(shard_samples, samples - first))
        size = int(index.offsets[-1] + index.lengths[-1]) // 512 * 512 + 10240
        shards.append(make_shard(f"train-{number:06d}.tar", "train", size, f"{number:032x}", index))
    return Manifest(url, tuple(shards), 3, tuple(str(i) for i in range(CLASSES)), 256)


def rewrite(folder, change):
    """Write a folder's manifest again with its head changed, and the digests in it left alone."""
    path = folder / MANIFEST_NAME
    file = pq.ParquetFile(path)
    head = json.loads(file.metadata.metadata[b"manifest"])
    change(head)
    rows = [_rows(file.read_row_group(number)) for number in range(file.num_row_groups)]
    path.write_bytes(encode(json.dumps(head).encode(), rows))


def _rows(table):
    keys, *columns = (table.column(name) for name in table.column_names)
    return ShardIndex(tuple(keys.to_pylist()), *(column.to_numpy() for column in columns))
