"""The corrected distance and its error; how often intervals cover is `jobs/benchmark.py`'s."""

import numpy as np
import pytest
import torch

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet_estimate import frechet_estimate
from system.evaluation.scores.frechet_estimate import small_sample_bias
from system.evaluation.scores.jackknife import jackknife
from system.evaluation.scores.jackknife import jackknife_groups
from system.evaluation.scores.jackknife import reach
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


@pytest.mark.parametrize(("count", "expected"), [(2000, 0.552), (8000, 0.138)])
def test_plain_distances_of_a_population_to_itself_have_that_bias(count, expected):
    reference = population(64)
    found = [reference.distance_of(draw(count, 64, seed)) for seed in range(25)]
    assert np.mean(found) == pytest.approx(expected, rel=0.02)


def test_half_the_images_double_the_plain_value_and_leave_the_corrected_one_near_none():
    reference, found = population(16), {}
    for count in (400, 800):
        found[count] = [frechet_estimate(draw(count, 16, seed), reference) for seed in range(8)]
    plain = {count: np.mean([one.value for one in each]) for count, each in found.items()}
    assert plain[400] / plain[800] == pytest.approx(2, rel=0.15)
    for count, each in found.items():
        assert abs(np.mean([one.corrected for one in each])) < 0.15 * plain[count]


@pytest.mark.parametrize("seed", range(3))
def test_distances_without_a_group_and_their_error_are_those_of_the_images_left(seed):
    features, reference = draw(300, 5, seed) * 1.5, population(5)
    dealt = jackknife_groups(300)
    without = [reference.distance_of(features[dealt != group]) for group in range(20)]
    plain = jackknife(reference.distance_of(features), without)
    found = frechet_estimate(features, reference)
    assert found.value == plain.value
    # What pairs of images bring is taken off in part: little here, where the sets are far apart.
    assert 0.9 * plain.standard_error < found.standard_error < plain.standard_error
    # The parabola ends near the straight line that the plain jackknife draws.
    assert found.corrected == pytest.approx(plain.corrected, abs=0.2 * plain.standard_error)
    low, high = found.interval
    assert low < found.corrected < high
    reached = (high - low) / 2 / found.standard_error
    assert reached == pytest.approx(reach(20), rel=0.05)


def test_the_interval_leans_upward_as_a_distance_bends():
    # One direction's variance is all there is to it: (sqrt(S) - 1)^2 bends upward in S.
    found = frechet_estimate(draw(200, 1, 0) * 1.3, population(1))
    low, high = found.interval
    assert high - found.corrected > 1.2 * (found.corrected - low)


def test_fewer_images_than_features_have_an_estimate_too():
    found = frechet_estimate(draw(60, 80, 0), population(80))
    assert found.value == pytest.approx(population(80).distance_of(draw(60, 80, 0)))
    assert found.standard_error > 0


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say():
    reference, root = population(8), torch.linspace(0.7, 1.6, 8).double()
    truth = (root - 1).square().sum().item()
    found = [frechet_estimate(draw(300, 8, seed) * root, reference) for seed in range(200)]
    covered = np.mean([one.interval[0] <= truth <= one.interval[1] for one in found])
    assert 0.90 <= covered <= 0.98
    corrected = np.array([one.corrected for one in found])
    assert abs(corrected.mean() - truth) < 2 * corrected.std() / 200**0.5


def test_the_correction_takes_the_bias_away():
    found = [frechet_estimate(draw(400, 16, seed), population(16)) for seed in range(10)]
    plain = np.mean([one.value for one in found])
    assert plain == pytest.approx(small_sample_bias(torch.eye(16).double(), 400), rel=0.1)
    errors = np.mean([one.standard_error for one in found])
    assert abs(np.mean([one.corrected for one in found])) < 2 * errors / 10**0.5
