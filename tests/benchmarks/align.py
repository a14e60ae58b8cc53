"""What aligning features in the reverse pass adds to a training step, and what that pass costs.

The published run of R-REPA (eight blocks of eight layers, 256 tokens, two aligned blocks) at a
width that a CPU can do. The teacher's forward pass is on neither side: it depends on the teacher
alone, and may be computed once and read (data.features); a row says what it comes to.
"""

import statistics
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.child import in_child
from tests.benchmarks.parts.aligned_plan import count_aligned
from tests.benchmarks.parts.aligning import PLAIN
from tests.benchmarks.parts.aligning import SIDES
from tests.benchmarks.parts.aligning import Found
from tests.benchmarks.parts.aligning import Spent
from tests.benchmarks.parts.aligning import time_aligning
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least
from tests.benchmarks.rows import at_most

MB, GB, MS = 1e6, 1e9, 1e3
TIME, MEMORY, REVERSE = at_most(1.25), at_most(1.15), at_least(30)
SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int = 7
    reverse_rounds: int = 5
    threads: int = 2
    settings: tuple[str, ...] = (
        "flow.width=128", "run.global_batch=2", "cluster.workers=1", "cluster.micro_batch=2",
        "cluster.device=cpu", "objective.alignment.head_width=128",
    )  # fmt: skip
    counted: tuple[str, ...] = tuple(SIDES)


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about five minutes on two cores."""
    found = in_child(
        time_aligning, scale.settings, scale.rounds, scale.reverse_rounds, scale.threads
    )
    yield from _steps(found)
    yield from _reverse(found)
    yield from _counted(scale.counted)


def _steps(found: Found) -> Iterator[Row]:
    yield Row("tokens", found.tokens, "")
    yield Row(f"{PLAIN}: step", MS * _middle(found.step[PLAIN]), "ms")
    yield Row(f"{PLAIN}: memory at most", found.peak[PLAIN] / MB, "MB")
    for side in SIDES:
        if side == PLAIN:
            continue
        is_shared = side.endswith(SHARED)
        over = _ratio(found.step[side], found.step[PLAIN])
        yield Row(f"{side}: step / plain", over.wall, "x", TIME if is_shared else None)
        yield Row(f"{side}: the same in time on the processor", over.worked, "x")
        more = found.peak[side] / found.peak[PLAIN]
        yield Row(f"{side}: memory / plain", more, "x", MEMORY if is_shared else None)
    for reverse, off in found.off.items():
        yield Row(f"{reverse}: gradients of shared passes differ by", off, "of the largest")


def _reverse(found: Found) -> Iterator[Row]:
    drawn = found.reverse["drawn"]
    yield Row("true reverse of the aligned blocks, cached", MS * _middle(drawn), "ms")
    for passes in ("separate", SHARED):
        took = found.reverse[passes]
        yield Row(f"pseudo-reverse, {passes}", MS * _middle(took), "ms")
        bound = REVERSE if passes == SHARED else None
        yield Row(f"true reverse / pseudo-reverse, {passes}", _ratio(drawn, took).wall, "x", bound)


def _counted(sides: Sequence[str]) -> Iterator[Row]:
    """The published size, on shapes alone."""
    counted = {side: count_aligned(side) for side in sides}
    for side, each in counted.items():
        if side == PLAIN:
            yield Row("published size: plain, operations an image", each.flops / 1e12, "TFLOP")
            yield Row("published size: plain, memory of a GPU", each.held / GB, "GB")
            continue
        plain = counted[PLAIN]
        bounds = (TIME, MEMORY) if side.endswith(SHARED) else (None, None)
        name = f"published size: {side}"
        yield Row(f"{name}, operations / plain", each.flops / plain.flops, "x", bounds[0])
        yield Row(f"{name}, memory / plain", each.held / plain.held, "x", bounds[1])
    if counted:
        share = max(each.teacher for each in counted.values()) / counted[PLAIN].flops
        yield Row("published size: the teacher's pass / plain step", 100 * share, "%")


def _middle(spent: Sequence[Spent]) -> float:
    return statistics.median(each.wall for each in spent)


def _ratio(over: Sequence[Spent], under: Sequence[Spent]) -> Spent:
    """The medians over rounds of one side over the other."""
    pairs = [*zip(over, under, strict=True)]
    return Spent(
        statistics.median(one.wall / other.wall for one, other in pairs),
        statistics.median(one.worked / other.worked for one, other in pairs),
    )
