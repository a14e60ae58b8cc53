"""One tar of samples: what it weighs, and the rows that say where in it each image lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Literal

import numpy as np
from jaxtyping import Int32
from jaxtyping import Int64
from jaxtyping import UInt64

from data_pipeline.shards.columns import RowGroup
from data_pipeline.shards.columns import ShardIndex
from data_pipeline.shards.columns import digest_of
from system.foundation.wording import counted

Split = Literal["train", "held_out"]


@dataclass(frozen=True, eq=False)
class Shard:
    """One tar: what it weighs, and where in it the image of each sample lies."""

    name: str
    split: Split
    bytes: int
    digest: str  # xxh3-128 of the whole file, hexadecimal
    samples: int
    index_digest: str  # xxh3-128 of its rows, hexadecimal
    keys_digest: str  # the sum of its keys' xxh3-64 modulo 2^64, hexadecimal
    rows: ShardIndex | RowGroup = field(repr=False)

    @property
    def index(self) -> ShardIndex:
        """The rows, read if they are not at hand. Raises DataError where they are damaged."""
        if isinstance(self.rows, ShardIndex):
            return self.rows
        return self.rows.file.index(self.rows.number, self.index_digest)

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of each sample."""
        return tuple(self.index.keys)

    @property
    def labels(self) -> Int32[np.ndarray, "samples"]:
        """The label of each sample."""
        return self.index.labels

    @property
    def offsets(self) -> Int64[np.ndarray, "samples"]:
        """The first byte of each sample's image in the tar."""
        return self.index.offsets

    @property
    def lengths(self) -> Int64[np.ndarray, "samples"]:
        """The bytes of each sample's image."""
        return self.index.lengths

    @property
    def digests(self) -> UInt64[np.ndarray, "samples"]:
        """xxh3-64 of each image's bytes."""
        return self.index.digests


def split_counts(shards: Sequence[Shard]) -> str:
    """How many samples each split has, for people."""
    return ", ".join(
        f"{sum(shard.samples for shard in chosen)} in {counted(len(chosen), 'shard')} {words}"
        for split, words in (("train", "to train on"), ("held_out", "held out"))
        for chosen in [[shard for shard in shards if shard.split == split]]
    )


def make_shard(name: str, split: Split, size: int, digest: str, index: ShardIndex) -> Shard:
    """A shard of `size` bytes with these rows in memory."""
    keys_digest = f"{digest_of(index.keys):016x}"
    return Shard(name, split, size, digest, len(index), index.digest, keys_digest, index)
