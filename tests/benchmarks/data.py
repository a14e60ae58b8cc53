"""The data pipeline: throughput, overhead, planning at scale, start and packing.

Photographs are cut from those of scikit-learn, encoded and packed into a temporary folder first.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.child import in_child
from tests.benchmarks.parts.decoding import time_decoding
from tests.benchmarks.parts.delivery import deliver
from tests.benchmarks.parts.overhead import seconds_beside_the_copy
from tests.benchmarks.parts.packing import time_packing
from tests.benchmarks.parts.planning import PROCESSES
from tests.benchmarks.parts.planning import RANKS
from tests.benchmarks.parts.planning import SAMPLES
from tests.benchmarks.parts.planning import local_file_of
from tests.benchmarks.parts.planning import plan_in_driver
from tests.benchmarks.parts.planning import plan_in_process
from tests.benchmarks.parts.planning import seconds_per_rank
from tests.benchmarks.parts.planning import write_large_manifest
from tests.benchmarks.parts.start import seconds_to_first_batch
from tests.benchmarks.parts.start import seconds_to_torch
from tests.benchmarks.photographs import PackedPhotographs
from tests.benchmarks.photographs import write_photographs
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least
from tests.benchmarks.rows import at_most
from tests.benchmarks.rows import median_of_each

MB = 1e6
MS = 1e3


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    photographs: int = 1440  # more than fit into the reader's cache of decoded pixels
    batches: int = 4  # of 64, per round and side
    rounds: int = 9
    large_batches: int = 8
    samples: int = SAMPLES
    ranks: int = 64


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about two minutes on two cores."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        root = Path(scratch)
        made = write_photographs(root, scale.photographs)
        yield from _decoding(scale)
        yield from _delivery(made, scale)
        yield from _loader(made, scale)
        yield from _planning(root, scale)
        yield from _packing(made, root, scale)


def _decoding(scale: Scale) -> Iterator[Row]:
    found = in_child(time_decoding, scale.rounds, cores=1)
    yield Row("decode, 375x500 JPEG", found.decode * MS, "ms")
    yield Row("decode by Pillow", found.pillow_decode * MS, "ms")
    yield Row("ADM crop of it to 256x256", found.crop * MS, "ms")
    yield Row("its resizing alone by Pillow", found.pillow_crop * MS, "ms")
    yield Row("random resized crop of it to 256x256", found.random_crop * MS, "ms")


def _delivery(made: PackedPhotographs, scale: Scale) -> Iterator[Row]:
    found = in_child(deliver, made.shards, scale.batches, scale.rounds, cores=1)
    rates = {
        "in this process": found.in_process,
        "by a decoding process": found.through_a_process,
    }
    yield Row("one core: WebDataset + Pillow", found.webdataset, "images/s")
    yield Row("one core: bare loop of decode + crop", found.bare_loop, "images/s")
    for how, rate in rates.items():
        yield Row(f"one core: delivered {how}", rate, "images/s")
    yield Row("images with the same pixels", 100 * found.same_pixels, "%", at_least(100))
    for how, rate in rates.items():
        times = rate / found.webdataset
        yield Row(f"delivered {how} / WebDataset + Pillow", times, "x", at_least(1.5))
        share = 100 * rate / found.bare_loop
        yield Row(f"delivered {how} / bare loop", share, "%", at_least(90))


def _loader(made: PackedPhotographs, scale: Scale) -> Iterator[Row]:
    beside = in_child(seconds_beside_the_copy, made.shards, scale.large_batches)
    yield Row("loader beside the copy, 256x3x256x256", beside * MS, "ms", at_most(2))
    starts = {
        "batch": lambda: seconds_to_first_batch(made.shards),
        "torch": seconds_to_torch,
    }
    start = median_of_each(starts, scale.rounds)
    yield Row("process start to first batch", start["batch"], "s", at_most(2))
    yield Row("of which importing torch", start["torch"], "s")


def _planning(root: Path, scale: Scale) -> Iterator[Row]:
    (root / "large").mkdir()
    url = write_large_manifest(root / "large", scale.samples)
    driver = in_child(plan_in_driver, url)
    yield Row("planning: first position in the driver", driver.seconds, "s", at_most(1))
    yield Row("planning: driver grows by", driver.peak_bytes / MB, "MB", at_most(300))
    file = in_child(local_file_of, url)
    process = in_child(plan_in_process, file, url, RANKS - 1)
    yield Row("planning: first position in a rank's process", process.seconds, "s", at_most(1))
    grown = process.private_bytes / MB
    yield Row("planning: process of a rank grows by", grown, "MB", at_most(50))
    yield Row(f"planning: all {PROCESSES} of a rank, together", PROCESSES * grown, "MB")
    alone = in_child(seconds_per_rank, url, 1, scale.ranks)
    many = in_child(seconds_per_rank, url, RANKS, scale.ranks)
    yield Row("planning: a rank of 1", alone * MS, "ms")
    yield Row(f"planning: a rank of {RANKS}", many * MS, "ms")
    yield Row(f"planning: a rank of {RANKS} / of 1", many / alone, "x", at_most(1.5))


def _packing(made: PackedPhotographs, root: Path, scale: Scale) -> Iterator[Row]:
    found = in_child(time_packing, made.folder, str(root), scale.rounds)
    yield Row("copied through tarfile, to the disk", found.tarfile / MB, "MB/s")
    yield Row("packed with bytes kept, to the disk", found.packed / MB, "MB/s")
    share = 100 * found.packed / found.tarfile
    yield Row("packed / copied through tarfile", share, "%", at_least(90))
    yield Row("packed with every image decoded", found.packed_and_decoded / MB, "MB/s")
