"""What it costs a training step that its numbers are written down, mirrored, exported and scraped.

Everything against nothing: ledger, account of time, console, wandb, Ray's gauges, exporter and its
scrapes, which all run on the machine that trains. Where other programs want the cores as well the
interval is wide; time on the processor tells then what the training process itself has to do.
"""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.child import in_child
from tests.benchmarks.parts.beside import interval
from tests.benchmarks.parts.watched import slowdown
from tests.benchmarks.parts.watched import timed_in_turn
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least
from tests.benchmarks.rows import at_most


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured, and settings for the digits recipe."""

    pairs: int = 20
    steps: int = 40
    settings: tuple[str, ...] = ()


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about five minutes on two cores."""
    with tempfile.TemporaryDirectory() as folder:
        found = in_child(
            timed_in_turn, Path(folder), scale.pairs, scale.steps, list(scale.settings)
        )
    yield Row("steps of training each way", scale.pairs * scale.steps, "", at_least(200))
    for name, side in (("unwatched", found.unwatched), ("watched", found.watched)):
        mean = statistics.median(statistics.fmean(block.wall) for block in side)
        yield Row(f"step {name}", 1000 * mean, "ms")
    slower = slowdown([b.wall for b in found.unwatched], [b.wall for b in found.watched])
    low, high = interval(slower)
    yield Row("step slower with all sinks", 100 * statistics.median(slower), "%", at_most(1))
    yield Row("95 % interval of it, from", 100 * low, "%")
    yield Row("95 % interval of it, to", 100 * high, "%")
    worked = slowdown([b.processor for b in found.unwatched], [b.processor for b in found.watched])
    yield Row("the same in time on the processor", 100 * statistics.median(worked), "%", at_most(1))
    yield Row("reports that every sink was shown", found.shown, "")
    yield Row("of these, lost by a sink", found.lost, "", at_most(0))
    yield Row("scrapes answered meanwhile", found.scrapes, "")
