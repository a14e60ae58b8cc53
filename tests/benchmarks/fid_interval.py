"""How often the 95 % interval of a Frechet distance covers the truth, at the sizes on offer.

The digits protocol compares 734 drawn images by 64 features. Inception's 2048 features of 50,000
and of 10,000 images are stood in for by 128 features with as many images for each, 24 and 5, and a
spectrum as steep. The populations are known; one is skewed, one is the reference itself.
"""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.benchmarks.parts.intervals import Scenario
from tests.benchmarks.parts.intervals import coverage
from tests.benchmarks.parts.intervals import intervals
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least

SCENARIOS = (
    Scenario("64 features, 734 images, far", 64, 734, decay=1, difference=0.3),
    Scenario("64 features, 734 images, near", 64, 734, decay=1, difference=0.1),
    Scenario("64 features, 734 images, flat spectrum", 64, 734, decay=0, difference=0.2),
    Scenario("64 features, 734 images, the reference itself", 64, 734, decay=0, difference=0),
    Scenario("64 features, 734 images, means apart", 64, 734, decay=1, difference=0.1, shift=0.2),
    Scenario("64 skewed features, 734 images", 64, 734, 1, 0.3, shape="exponential"),
    Scenario("128 features, 24 images for each", 128, 3072, decay=1, difference=0.2),
    Scenario("128 features, 5 images for each", 128, 640, decay=1, difference=0.2),
)
PIECE = 50  # draws that a process does at once


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    draws: int = 1000
    scenarios: tuple[Scenario, ...] = SCENARIOS


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about five minutes on two cores."""
    pieces = [
        range(start, min(start + PIECE, scale.draws)) for start in range(0, scale.draws, PIECE)
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        for scenario in scale.scenarios:
            parts = pool.map(intervals, [scenario] * len(pieces), pieces)
            yield from _rows(scenario, [one for part in parts for one in part])


def _rows(
    scenario: Scenario, draws: list[tuple[float, float, float, float, float]]
) -> Iterator[Row]:
    found, name = coverage(scenario, draws), scenario.name
    yield Row(f"{name}: covered", 100 * found.covered, "%", at_least(93))
    yield Row(f"{name}: missed", 100 - 100 * found.covered, "%", at_least(3))
    yield Row(f"{name}: truth", found.truth, "")
    yield Row(f"{name}: plain value less truth", found.plain - found.truth, "")
    yield Row(f"{name}: corrected value less truth", found.corrected - found.truth, "")
    yield Row(f"{name}: spread of corrected values", found.spread, "")
    yield Row(f"{name}: standard error", found.error, "")
