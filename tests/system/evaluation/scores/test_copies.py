import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from system.evaluation.scores import copies as module
from system.evaluation.scores.copies import Nearest
from system.evaluation.scores.copies import copies
from system.evaluation.scores.copies import nearest_of
from system.foundation.errors import BadInput
from system.foundation.errors import NumericsError


def cloud(count: int, seed: int, width: int = 6) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def line(*distances: float) -> Nearest:
    """Images at these distances, the second neighbour at twice as much."""
    first = torch.tensor(distances, dtype=torch.float64)
    return Nearest(torch.stack([first, 2 * first], dim=1), torch.zeros(len(first), 2).long())


@pytest.mark.parametrize("cut", [1, 7, 200, 500])
def test_nearest_are_those_of_scikit_learn_however_the_others_come(cut, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 13)
    queries, others = cloud(40, 1) + 100, cloud(200, 2) + 100
    found = nearest_of(queries, others.split(cut), 3)
    search = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(others.double().numpy())
    distance, index = search.kneighbors(queries.double().numpy())
    assert np.array_equal(found.index.numpy(), index)
    np.testing.assert_allclose(found.distance.numpy(), distance, rtol=1e-12)


def test_a_copy_is_at_distance_zero_and_of_two_the_earlier_is_named():
    others = 1e4 + cloud(50, 0)
    others[31] = others[12]
    found = nearest_of(others[[12, 40]], others.split(20), 2)
    assert found.distance[0].tolist() == [0.0, 0.0]
    assert found.index[0].tolist() == [12, 31]
    assert found.distance[1, 0] == 0
    assert found.index[1, 0] == 40


def test_too_few_others_and_features_that_are_no_numbers_are_refused():
    with pytest.raises(BadInput, match="found 2 images"):
        nearest_of(cloud(3, 0), [cloud(2, 1)], 3)
    with pytest.raises(NumericsError, match="1 of 3"):
        nearest_of(cloud(3, 0), [cloud(3, 1) / torch.tensor([[0.0], [1], [1]])], 1)
    with pytest.raises(BadInput, match="two neighbours"):
        copies(line(), line(1.0))


def test_auc_and_ks_are_those_of_scikit_learn_and_scipy():
    near, scale = cloud(60, 3, 1)[:, 0].double().abs(), cloud(45, 4, 1)[:, 0].double().abs() + 0.2
    near[:5] = scale[:5]  # ties
    found = copies(line(*near.tolist()), line(*scale.tolist()))
    truth = np.concatenate([np.zeros(60), np.ones(45)])
    assert found.auc.value == pytest.approx(roc_auc_score(truth, torch.cat([near, scale]).numpy()))
    assert found.ks.value == pytest.approx(stats.ks_2samp(near.numpy(), scale.numpy()).statistic)


def test_the_errors_are_those_of_repeated_draws():
    generator = torch.Generator().manual_seed(0)
    shares, areas = [], []
    for _ in range(400):
        drawn, held_out = (
            torch.rand(count, generator=generator).double().tolist() for count in (200, 300)
        )
        found = copies(line(*drawn), line(*held_out))
        shares.append(found.share)
        areas.append(found.auc)
    for scores, mean in ((shares, 0.01), (areas, 0.5)):
        values = np.array([score.value for score in scores])
        spread = values.std()
        assert values.mean() == pytest.approx(mean, abs=4 * spread / math.sqrt(400) + 1 / 300)
        expected = np.mean([score.standard_error for score in scores])
        assert expected == pytest.approx(spread, rel=0.25)


def test_planted_copies_are_found():
    """A tenth of what is drawn is copied, with a little noise; the rest is as it should be."""
    train, held_out, drawn = cloud(400, 5), cloud(200, 6), cloud(200, 7)
    honest = copies(nearest_of(drawn, [train], 2), nearest_of(held_out, [train], 2))
    copied = drawn.clone()
    copied[:20] = train[:20] + 1e-3 * cloud(20, 8)
    found = nearest_of(copied, [train], 2)
    assert found.index[:20, 0].tolist() == list(range(20))
    told = copies(found, nearest_of(held_out, [train], 2))
    assert honest.share.value < 0.04
    assert told.share.value >= 0.1
    assert honest.memorised.value == honest.memorised_held_out.value == 0
    assert told.memorised.value == pytest.approx(0.1)
    assert honest.auc.value == pytest.approx(0.5, abs=3 * honest.auc.standard_error)


def test_all_copied_is_one_and_nothing_alike_is_zero():
    told = copies(line(0.0, 0.0), line(1.0, 2.0))
    assert (told.share.value, told.auc.value, told.ks.value) == (1, 1, 1)
    told = copies(line(5.0, 6.0), line(1.0, 2.0))
    assert (told.share.value, told.auc.value, told.ks.value) == (0, 0, 1)
