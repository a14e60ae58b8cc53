"""Which image goes into which shard, known before any image is read.

Images are put in the order of a hash of their keys, so that a shard mixes all classes; what can
only be read in one piece stays together, in the order of a hash of that piece. The same family of
hashes decides which images are held out, unless the source has splits of its own.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import xxhash

from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.recipe import Square
from data_pipeline.shards.manifest import Split
from data_pipeline.sources.entry import Entry
from system.foundation.errors import DataError

TAR_BLOCK = 512
# Bytes per pixel and channel of photographs, measured on crops of those in scikit-learn: what a
# shard of squares will weigh has to be known before they are encoded.
ESTIMATES = {"png": 0.6, "webp": 0.5, "jpeg": 0.25}


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """A shard to be written: its images, in order."""

    name: str
    split: Split
    entries: tuple[Entry, ...]


def first_of_each_key(
    entries: Sequence[Entry],
) -> tuple[list[Entry], list[tuple[Entry, Entry]]]:
    """The entries whose key comes for the first time, and each other one with the first of its."""
    first: dict[str, Entry] = {}
    owners = ((entry, first.setdefault(entry.key, entry)) for entry in entries)
    repeated = [(entry, owner) for entry, owner in owners if owner is not entry]
    return [*first.values()], repeated


def plan(recipe: PackRecipe, entries: Sequence[Entry]) -> Iterator[PlannedShard]:
    """Every shard, a function of the keys, sizes and options alone.

    Raises DataError where `held_out_fraction` meets a source with splits of its own.
    """
    if recipe.held_out_fraction and any(entry.split is not None for entry in entries):
        raise DataError(
            f"held_out_fraction={recipe.held_out_fraction:g}, but the source {recipe.source.kind} "
            "has splits of its own; expected held_out_fraction=0 there."
        )
    ranked = sorted(entries, key=_rank)
    for split in get_args(Split):
        chosen = [each for each in ranked if split_of(each, recipe.held_out_fraction) == split]
        for number, part in enumerate(_cut(recipe, chosen)):
            yield PlannedShard(f"{split}-{number:06d}.tar", split, tuple(part))


def _rank(entry: Entry) -> tuple[bytes, bytes]:
    block = xxhash.xxh3_128_digest(entry.block.encode()) if entry.block else b""
    return block, xxhash.xxh3_128_digest(entry.key.encode())


def _cut(recipe: PackRecipe, entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    held = 0
    for entry in entries:
        added = _bytes_in_tar(recipe, entry)
        is_full = recipe.shard_samples is not None and len(part) >= recipe.shard_samples
        is_heavy = recipe.shard_bytes is not None and held + added > recipe.shard_bytes
        if part and (is_full or is_heavy):
            yield part
            part, held = [], 0
        part.append(entry)
        held += added
    if part:
        yield part


def _bytes_in_tar(recipe: PackRecipe, entry: Entry) -> int:
    """Two headers, a block with the label, and the image in whole blocks."""
    store = recipe.store
    length = entry.length
    if isinstance(store, Square):
        length = int(store.size**2 * recipe.channels * ESTIMATES[store.format])
    return 3 * TAR_BLOCK + -(-length // TAR_BLOCK) * TAR_BLOCK


def split_of(entry: Entry, held_out_fraction: float) -> Split:
    """The source's own split, else one by the hash of the key."""
    if entry.split is not None:
        return entry.split
    share = xxhash.xxh3_64_intdigest(f"split/{entry.key}".encode()) / 2**64
    return "held_out" if share < held_out_fraction else "train"
