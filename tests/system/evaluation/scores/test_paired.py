"""The error of a difference, where both sides come of the same noise."""

import pytest
import torch

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet_estimate import frechet_estimate
from system.evaluation.scores.jackknife import jackknife
from system.evaluation.scores.paired import paired_difference
from system.evaluation.statistics import FeatureStatistics
from system.foundation import streams


def means(*values: float):
    """The jackknife of a mean of values, one in each group."""
    total, count = sum(values), len(values)
    return jackknife(total / count, [(total - value) / (count - 1) for value in values])


def test_the_difference_of_means_has_the_error_of_the_mean_difference():
    first, second = (1.0, 4.0, 9.0, 16.0), (0.0, 4.0, 7.0, 17.0)
    found = paired_difference([means(*first)], [means(*second)])
    steps = torch.tensor(first, dtype=torch.float64) - torch.tensor(second, dtype=torch.float64)
    assert found.value == pytest.approx(steps.mean().item())
    assert found.standard_error == pytest.approx(steps.std().item() / 2)


def test_halves_of_their_own_images_add_as_squares():
    half = [means(0.0, 2.0), means(1.0, 5.0)]
    none = [means(0.0, 0.0), means(0.0, 0.0)]
    found = paired_difference(half, none)
    assert found.value == pytest.approx((1 + 3) / 2)
    assert found.standard_error == pytest.approx((1**2 + 2**2) ** 0.5 / 2)
    assert paired_difference(half, half) == (0.0, 0.0)


def test_intervals_of_paired_distances_cover_the_truth_and_are_shorter():
    """Two spreads of the same 400 draws, 20 times: the true distances are known."""
    width, spreads, times = 4, (1.25, 1.3), 20
    unit = FeatureStatistics(101, torch.zeros(width).double(), 100 * torch.eye(width).double())
    reference = Factored.of(unit)
    truth = width * ((spreads[1] - 1) ** 2 - (spreads[0] - 1) ** 2)
    covered, shorter = 0, 0
    for seed in range(times):
        noise = streams.normal(seed, "test/paired", range(400), (width,))
        first, second = (frechet_estimate(spread * noise, reference) for spread in spreads)
        found = paired_difference([second], [first])
        covered += abs(found.value - truth) <= 1.96 * found.standard_error
        shorter += found.standard_error < 0.4 * second.standard_error
    assert covered >= 16  # fewer in 3 of 1,000 cases, if 95 of 100 are covered
    assert shorter == times
