"""What an evaluation on resources of its own costs the training step: two processes, two cores.

The digits recipe trains on one core, and a real evaluation of its checkpoint runs on another, again
and again; blocks with and without it take turns. Of a cluster this shows what processes of one
machine share beside their cores (cache, memory, disk); machines of their own share less. It says
nothing of Ray, which does the same for a run with evaluations as for one without, and nothing where
other programs want the cores as well: then the interval is wide, and the share of a core small.
"""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.child import in_child
from tests.benchmarks.parts.beside import interval
from tests.benchmarks.parts.beside import slowdown
from tests.benchmarks.parts.beside import timed_in_turn
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_most


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured, and settings for the digits recipe."""

    pairs: int = 20
    steps: int = 25
    settings: tuple[str, ...] = ()


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about three minutes on two cores."""
    with tempfile.TemporaryDirectory() as folder:
        found = in_child(
            timed_in_turn, Path(folder), scale.pairs, scale.steps, list(scale.settings)
        )
    yield Row("steps of training each way", scale.pairs * scale.steps, "")
    for name, side in (("alone", found.alone), ("beside an evaluation", found.beside)):
        median = statistics.median(second for block in side for second in block.wall)
        yield Row(f"step {name}", 1000 * median, "ms")
    slower = slowdown([b.wall for b in found.alone], [b.wall for b in found.beside])
    low, high = interval(slower)
    yield Row("step slower beside an evaluation", 100 * statistics.median(slower), "%", at_most(1))
    yield Row("95 % interval of it, from", 100 * low, "%")
    yield Row("95 % interval of it, to", 100 * high, "%")
    worked = slowdown([b.processor for b in found.alone], [b.processor for b in found.beside])
    yield Row("the same in time on its core", 100 * statistics.median(worked), "%")
    yield Row("share of its core that evaluation had", 100 * found.share, "%")
    yield Row("evaluations that ended meanwhile", found.evaluations, "")
