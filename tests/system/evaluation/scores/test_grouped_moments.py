"""Sums over groups against the distance of the same images taken by themselves."""

import numpy as np
import pytest
import torch

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.grouped_moments import GroupedMoments
from system.evaluation.scores.jackknife import jackknife_groups
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput


@pytest.fixture(scope="module")
def drawn():
    return torch.from_numpy(np.random.default_rng(1).standard_normal((130, 6)) * 1.3 + 2)


@pytest.fixture(scope="module")
def reference():
    real = np.random.default_rng(0).standard_normal((300, 6)) @ np.diag(np.arange(1, 7))
    return Factored.of(FeatureStatistics.of(torch.from_numpy(real)))


@pytest.mark.parametrize("chosen", [range(20), [3], [0, 1, 5, 19]])
def test_groups_together_are_their_images_together(drawn, reference, chosen):
    held = GroupedMoments.of(drawn, reference, 20)
    images = drawn[torch.isin(jackknife_groups(130), torch.tensor(list(chosen)))]
    statistics, found = FeatureStatistics.of(images), held.merged(chosen)
    assert found.count == len(images)
    torch.testing.assert_close(found.mean, statistics.mean, rtol=1e-12, atol=0)
    assert found.trace == pytest.approx(statistics.covariance.trace().item(), rel=1e-12)
    inner = reference.factor.T @ statistics.covariance @ reference.factor
    torch.testing.assert_close(found.inner, inner, rtol=1e-10, atol=1e-12)
    distance = reference.distance(statistics)
    assert held.distance(chosen) == pytest.approx(distance, rel=1e-10)


@pytest.mark.parametrize("chosen", [range(20), range(1, 20), [0, 1, 5, 19]])
def test_fewer_images_than_features_take_as_many_coordinates(chosen):
    generator = np.random.default_rng(2)
    turn = generator.standard_normal((90, 90)) / 9
    real, drawn = (
        torch.from_numpy(generator.standard_normal((count, 90)) @ turn + 3) for count in (200, 48)
    )
    reference = Factored.of(FeatureStatistics.of(real))
    held = GroupedMoments.of(drawn, reference, 20)
    assert held.merged(chosen).inner.shape == (48, 48)
    images = drawn[torch.isin(jackknife_groups(48), torch.tensor(list(chosen)))]
    by_singular_values = reference.distance_of(images)
    assert held.distance(chosen) == pytest.approx(by_singular_values, rel=1e-10)


def test_too_few_images_are_refused(drawn, reference):
    with pytest.raises(BadInput, match="found 30 images for 20 groups"):
        GroupedMoments.of(drawn[:30], reference, 20)
