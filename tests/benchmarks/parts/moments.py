"""Moments of many features and distances of wide ones, beside what the machine and SciPy can do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from threadpoolctl import threadpool_limits

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet import frechet_distance
from system.evaluation.scores.frechet_estimate import frechet_estimate
from system.evaluation.statistics import BLOCK
from system.evaluation.statistics import FeatureStatistics
from system.evaluation.statistics import streamed
from tests.benchmarks.rows import median_of_each
from tests.benchmarks.rows import seconds

PART = 1024  # rows, as they come from the units on disk
TRACE = 130.0  # of a covariance with a spectrum like Inception's


@dataclass(frozen=True, slots=True)
class Streaming:
    """Operations a second, and the most memory of the whole process."""

    moments: float
    product: float
    bytes_before: int
    bytes_peak: int


@dataclass(frozen=True, slots=True)
class Distances:
    """Seconds of one distance, and how far the results are apart."""

    cached: float
    uncached: float
    sqrtm: float
    difference: float


def stream(count: int, width: int, rounds: int, threads: int) -> Streaming:
    """Moments of `count` features in parts, and products of blocks of them, timed in turn."""
    with _on(threads):
        generator = torch.Generator().manual_seed(0)
        pool = torch.randn(8 * PART, width, generator=generator)  # parts are cut from these
        block = torch.randn(BLOCK, width, generator=generator, dtype=torch.float64)
        before = _peak()
        held = torch.empty(width, width, dtype=torch.float64)
        times = max(count // BLOCK, 1)
        sides = {
            "product": lambda: seconds(lambda: torch.mm(block.T, block, out=held), times) * times,
            "moments": lambda: seconds(lambda: streamed(_parts(pool, count))),
        }
        took = median_of_each(sides, rounds)
    each = 2 * width**2
    return Streaming(
        each * count / took["moments"], each * times * BLOCK / took["product"], before, _peak()
    )


def distances(width: int, rounds: int, threads: int) -> Distances:
    """The distance between two sets of moments, ours and by SciPy's matrix square root."""
    with _on(threads):
        first, second = _moments(width, 0), _moments(width, 1)
        reference = Factored.of(first)
        results: dict[str, float] = {}

        def by_sqrtm() -> None:
            root = scipy.linalg.sqrtm(first.covariance.numpy() @ second.covariance.numpy())
            trace = first.covariance.trace() + second.covariance.trace()
            shift = (first.mean - second.mean).square().sum()
            results["sqrtm"] = float(shift + trace) - 2 * float(np.trace(root.real))

        def cached() -> None:
            results["ours"] = reference.distance(second)

        sides = {
            "cached": lambda: seconds(cached),
            "uncached": lambda: seconds(lambda: frechet_distance(first, second)),
            "sqrtm": lambda: seconds(by_sqrtm),
        }
        took = median_of_each(sides, rounds)
    difference = abs(results["ours"] / results["sqrtm"] - 1)
    return Distances(took["cached"], took["uncached"], took["sqrtm"], difference)


def estimate_seconds(count: int, width: int, threads: int) -> float:
    """One corrected distance with its interval, from features."""
    with _on(threads):
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(count, width, generator=generator) * _spectrum(width).sqrt().float()
        reference = Factored.of(_moments(width, 1))
        return seconds(lambda: frechet_estimate(features, reference))


def _parts(pool: torch.Tensor, count: int) -> Iterator[torch.Tensor]:
    for start in range(0, count, PART):
        place = start % len(pool)
        yield pool[place : place + min(PART, count - start)]


def _spectrum(width: int) -> torch.Tensor:
    values = torch.arange(1, width + 1, dtype=torch.float64) ** -1
    return values / values.sum() * TRACE


def _moments(width: int, seed: int) -> FeatureStatistics:
    """Moments of full rank: a spectrum like Inception's, turned, and seen in finitely many."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(4 * width, width, generator=generator, dtype=torch.float64)
    turn = torch.randn(width, width, generator=torch.Generator().manual_seed(7)).double()
    return FeatureStatistics.of(features * _spectrum(width).sqrt() @ turn / width**0.5)


@contextmanager
def _on(threads: int) -> Iterator[None]:
    """Within this block both libraries compute with so many threads."""
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        yield


def _peak() -> int:
    """The most memory that this process has had, bytes. (`getrusage` counts from before its program
    was loaded, when it was a copy of the process that started it.)"""
    fields = Path("/proc/self/status").read_text().split()
    return 1024 * int(fields[fields.index("VmHWM:") + 1])
