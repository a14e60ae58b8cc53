"""What a benchmark says, in rows of name, value, unit, bound and whether it holds.

Both sides of a comparison are timed in turn in one run, so that a machine that slows down slows
both; a figure is the median over rounds, and its quartiles say how far the rounds lie apart.
"""

import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
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
    quartiles: tuple[float, float] | None = None  # of the rounds that the value is the median of

    @property
    def holds(self) -> bool | None:
        """Whether the value keeps its bound; None without one."""
        return None if self.bound is None else self.bound.holds(self.value)

    def to_json(self) -> dict[str, Any]:
        """Its fields, the bound as text, the quartiles as a list."""
        bound = None if self.bound is None else str(self.bound)
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "bound": bound,
            "holds": self.holds,
            "quartiles": None if self.quartiles is None else [*self.quartiles],
        }


def median_row(name: str, values: Sequence[float], unit: str, bound: Bound | None = None) -> Row:
    """The median of what each round gave, with the quartiles; a single round is its own."""
    low = high = values[0]
    if len(values) > 1:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Row(name, statistics.median(values), unit, bound, (low, high))


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """One side over the other, round by round: what slows a whole round drops out."""
    return [one / other for one, other in zip(over, under, strict=True)]


def every_round(
    sides: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """What each side returns in every round; the order turns about from round to round."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm_up, rounds):
        names = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in names:
            value = sides[name]()
            if number >= 0:
                found[name].append(value)
    return found


def median_of_each(
    sides: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: int = 1
) -> dict[str, float]:
    """The median over rounds of what each side returns, as `every_round` asks them."""
    found = every_round(sides, rounds, warm_up=warm_up)
    return {name: statistics.median(values) for name, values in found.items()}


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Wall time of one call, averaged over `times` of them."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times
