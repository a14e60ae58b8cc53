"""Planning ImageNet: 1,281,167 samples for 4,096 ranks of 8 decoding processes, ranks simulated.

The manifest is real, with a row for every sample, and its shards are there (as holes: nothing reads
them). Each figure is of a fresh process: what it grows by from opening the manifest to its first
samples known by key and label, its modules being loaded already.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from data_pipeline.order.order import Order
from data_pipeline.shards.columns import ShardIndex
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import open_local
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.shards.manifest import write_manifest
from data_pipeline.shards.shard import make_shard

SAMPLES = 1_281_167
CLASSES = 1000
SHARD_SAMPLES = 1000
IMAGE_BYTES = 110_000
RANKS = 4096
PROCESSES = 8  # per rank
WINDOW_SHARDS = 8
TASK = 32  # rows that a decoding process is given at once
GLOBAL_BATCH = RANKS * TASK


@dataclass(frozen=True, slots=True)
class FirstPosition:
    """What a process needs until it knows its first samples."""

    seconds: float
    peak_bytes: int  # by which the process grew at most
    private_bytes: int  # by which its own memory grew


def write_large_manifest(root: Path, samples: int = SAMPLES) -> str:
    """A manifest of so many samples, beside shards that are holes. Returns its url."""
    draws = np.random.default_rng(0)
    shards = []
    for first in range(0, samples, SHARD_SAMPLES):
        count = min(SHARD_SAMPLES, samples - first)
        labels = draws.integers(0, CLASSES, count).astype(np.int32)
        index = ShardIndex(
            keys=tuple(f"n{label:08d}_{first + row}" for row, label in enumerate(labels)),
            labels=labels,
            offsets=np.arange(count, dtype=np.int64) * (IMAGE_BYTES + 1024) + 512,
            lengths=np.full(count, IMAGE_BYTES, np.int64),
            digests=draws.integers(0, 2**64, count, np.uint64),
        )
        name, size = f"train-{first // SHARD_SAMPLES:05d}.tar", count * (IMAGE_BYTES + 1024)
        shards.append(make_shard(name, "train", size, f"{first:032x}", index))
        with open(root / name, "wb") as hole:
            hole.truncate(size)
    names = tuple(f"class {number}" for number in range(CLASSES))
    write_manifest(Manifest(str(root), tuple(shards), 3, names, None))
    return str(root)


def plan_in_driver(url: str) -> FirstPosition:
    """Open and check the manifest as a driver does, and plan its first position."""
    return _measured(lambda: read_manifest(url).split("train"), 0)


def local_file_of(url: str) -> str:
    """The file that a rank tells its decoding processes to open."""
    return str(parse_manifest(url).local_file())


def plan_in_process(file: str, url: str, rank: int) -> FirstPosition:
    """What a decoding process of a rank does: it is told the file, and looks at no storage."""
    position = rank * (GLOBAL_BATCH // RANKS)
    return _measured(lambda: open_local(Path(file), url).split("train"), position)


def seconds_per_rank(url: str, world_size: int, ranks: int) -> float:
    """The median over ranks of planning a rank's first task, in a world of that size."""
    manifest = read_manifest(url).split("train")
    share = GLOBAL_BATCH // world_size
    chosen = np.linspace(0, world_size - 1, ranks).astype(int).tolist()
    times = []
    for rank in chosen:
        start = time.perf_counter()
        _order(manifest).samples(rank * share, rank * share + TASK)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _order(manifest: Manifest) -> Order:
    return Order([shard.samples for shard in manifest.shards], 0, WINDOW_SHARDS)


def _measured(opened: Callable[[], Manifest], position: int) -> FirstPosition:
    process = psutil.Process()
    private, resident = process.memory_full_info().uss, process.memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    start = time.perf_counter()
    manifest = opened()
    order = _order(manifest)
    samples = order.samples(position, position + TASK)
    keys = [manifest.key(sample) for sample in samples.tolist()]
    labels = manifest.labels[samples]
    took = time.perf_counter() - start
    grown = process.memory_full_info().uss - private
    assert len(keys) == len(labels) == TASK
    return FirstPosition(took, _peak_bytes() - resident, grown)


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
