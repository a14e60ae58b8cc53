"""Draws from known populations, and whether a distance's interval covers the truth.

Two Gaussians are far apart by a closed form; so are any two populations in this distance, of which
only mean and covariance count. The reference is known exactly, and the population drawn from
differs by its eigenvalues (each times exp(difference * normal)) and, if asked, by its mean.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet import frechet_distance
from system.evaluation.scores.frechet_estimate import frechet_estimate
from system.evaluation.statistics import FeatureStatistics

KNOWN = 10**6  # the count of moments that are exact


@dataclass(frozen=True, slots=True)
class Scenario:
    """A population, a reference, and how many images are drawn."""

    name: str
    width: int
    images: int
    decay: float  # of the reference's eigenvalues: the i-th is proportional to i^-decay
    difference: float
    shape: Literal["normal", "exponential"] = "normal"
    shift: float = 0.0  # of the means, in standard deviations


@dataclass(frozen=True, slots=True)
class Coverage:
    """What many draws of a scenario found."""

    covered: float  # share of intervals that hold the truth
    truth: float
    plain: float  # mean of the uncorrected values
    corrected: float
    spread: float  # standard deviation of the corrected values
    error: float  # root mean square of the standard errors


def intervals(scenario: Scenario, draws: range) -> list[tuple[float, float, float, float, float]]:
    """Value, corrected value, standard error and the interval's ends of every draw."""
    torch.set_num_threads(1)
    root, mean, reference, _ = _populations(scenario)
    found = []
    for draw in draws:
        generator = np.random.default_rng([scenario.width, scenario.images, draw])
        shape = (scenario.images, scenario.width)
        if scenario.shape == "normal":
            white = generator.standard_normal(shape)
        else:
            white = generator.exponential(size=shape) - 1
        estimate = frechet_estimate(torch.from_numpy(white) @ root.T + mean, reference)
        low, high = estimate.interval
        found.append((estimate.value, estimate.corrected, estimate.standard_error, low, high))
    return found


def coverage(scenario: Scenario, found: list[tuple[float, float, float, float, float]]) -> Coverage:
    """How often the truth was covered."""
    *_, truth = _populations(scenario)
    value, corrected, error, low, high = np.array(found).T
    return Coverage(
        covered=float(np.mean((low <= truth) & (truth <= high))),
        truth=truth,
        plain=float(value.mean()),
        corrected=float(corrected.mean()),
        spread=float(corrected.std(ddof=1)),
        error=float(np.sqrt(np.mean(error**2))),
    )


def _populations(scenario: Scenario) -> tuple[torch.Tensor, torch.Tensor, Factored, float]:
    """A root of the drawn covariance, its mean, the reference, and the distance between them."""
    generator = np.random.default_rng(5)
    width = scenario.width
    real = torch.from_numpy(np.arange(1, width + 1) ** -float(scenario.decay))
    real = real / real.sum() * width
    factors = np.exp(scenario.difference * generator.standard_normal(width))
    turn = scenario.difference * generator.standard_normal((width, width)) / width**0.5
    rotation = torch.linalg.matrix_exp(torch.from_numpy(turn - turn.T) * 0.3)
    root = rotation @ (real * torch.from_numpy(factors)).sqrt().diag()
    mean = scenario.shift * real.sqrt() * torch.from_numpy(generator.standard_normal(width))
    reference = Factored.of(_known(torch.zeros(width).double(), real.diag()))
    truth = frechet_distance(reference.statistics, _known(mean, root @ root.T))
    return root, mean, reference, truth


def _known(mean: torch.Tensor, covariance: torch.Tensor) -> FeatureStatistics:
    return FeatureStatistics(KNOWN, mean, covariance * (KNOWN - 1))
