"""The corrected distance and its error; how often intervals cover is `jobs/benchmark.py`'s."""

import numpy as np
import pytest
import torch

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet_estimate import frechet_estimate
from system.evaluation.scores.frechet_estimate import small_sample_bias
from system.evaluation.statistics import FeatureStatistics


def population(width: int, scale: float = 1.0) -> Factored:
    covariance = scale * torch.eye(width, dtype=torch.float64)
    count = 10**6
    mean = torch.zeros(width, dtype=torch.float64)
    return Factored.of(FeatureStatistics(count, mean, covariance * (count - 1)))


def draw(count: int, width: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, width)))


def test_bias_of_few_samples_is_as_published():
    covariance = torch.eye(64, dtype=torch.float64)
    assert small_sample_bias(covariance, 2000) == pytest.approx(0.552, abs=5e-4)
    assert small_sample_bias(covariance, 8000) == pytest.approx(0.138, abs=5e-4)
    assert small_sample_bias(covariance, 2000, 2000) == pytest.approx(2 * 0.552, abs=1e-3)


def test_the_correction_takes_the_bias_away():
    found = [frechet_estimate(draw(400, 16, seed), population(16)) for seed in range(10)]
    plain = np.mean([one.value for one in found])
    assert plain == pytest.approx(small_sample_bias(torch.eye(16).double(), 400), rel=0.1)
    errors = np.mean([one.standard_error for one in found])
    assert abs(np.mean([one.corrected for one in found])) < 2 * errors / 10**0.5
