"""How long a run needs from the death of a worker to its next new update.

Beside it what cannot be saved: as many processes that start, import what a worker imports, assemble
the state and take up the same checkpoint, without a Ray.
"""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from tests.benchmarks.parts.recovery import Run
from tests.benchmarks.parts.recovery import bare_seconds
from tests.benchmarks.parts.recovery import medians
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_most


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    kills: int = 3
    workers: int = 2
    settings: tuple[str, ...] = ()


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about three minutes on two cores."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        folder = Path(scratch)
        shards = str(folder / "shards")
        pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
        with Run(folder, shards, scale.workers, scale.settings) as run:
            each = [run.kill_and_recover() for _ in range(scale.kills)]
        bare = [bare_seconds(run, folder, scale.workers) for _ in range(scale.kills)]
    found = medians(each)
    imported, restored = (
        statistics.median(one[what] for one in bare) for what in ("imported", "restored")
    )
    yield Row("kills", scale.kills, "")
    yield Row("from the kill: noticed", found.noticed, "s")
    yield Row("from the kill: the next worker has begun", found.started, "s")
    yield Row("from the kill: restored", found.restored, "s")
    yield Row("from the kill: first update", found.updated, "s")
    yield Row("from the kill: first new update", found.new, "s")
    yield Row("updates replayed until then", found.replayed, "")
    yield Row("bare: process start and imports", imported, "s")
    yield Row("bare: process start, imports and restore", restored, "s")
    yield Row("first new update / bare", found.new / restored, "x", at_most(1.5))
