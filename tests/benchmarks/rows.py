"""What a benchmark says, in rows of name, value, unit, bound and whether it holds.

Both sides of a comparison are timed in turn in one process, so that a machine that slows down slows
both; a figure is the median over rounds.
"""

import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import Literal


@dataclass(frozen=True, slots=True)
class Bound:
    """What a value has to reach, or not to pass."""

    relation: Literal[">=", "<="]
    figure: float

    def __str__(self) -> str:
        return f"{self.relation} {self.figure:g}"

    def holds(self, value: float) -> bool:
        """Whether a value keeps it; one that is no number does not."""
        return value >= self.figure if self.relation == ">=" else value <= self.figure


def at_least(figure: float) -> Bound:
    """A bound from below."""
    return Bound(">=", figure)


def at_most(figure: float) -> Bound:
    """A bound from above."""
    return Bound("<=", figure)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; without a bound it is there to explain the others."""

    name: str
    value: float
    unit: str
    bound: Bound | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the value keeps its bound; None without one."""
        return None if self.bound is None else self.bound.holds(self.value)

    def to_json(self) -> dict[str, Any]:
        """Its fields, the bound as text."""
        bound = None if self.bound is None else str(self.bound)
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "bound": bound,
            "holds": self.holds,
        }


def median_of_each(
    sides: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: int = 1
) -> dict[str, float]:
    """What each side returns, median over rounds; the order turns about from round to round."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm_up, rounds):
        names = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in names:
            value = sides[name]()
            if number >= 0:
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Wall time of one call, averaged over `times` of them."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times
