"""The vectors are those of the published analyses; subsets against torch-fidelity's."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.kid import poly_mmd

from system.evaluation.scores import kernel
from system.evaluation.scores.jackknife import jackknife_groups
from system.evaluation.scores.kernel import full_kernel_distance
from system.evaluation.scores.kernel import kernel_distance
from system.foundation.errors import BadInput


def seeded_set() -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(12345)
    x = generator.standard_normal((200, 8))
    y = generator.standard_normal((300, 8)) * np.linspace(0.5, 1.5, 8) + 0.25
    return torch.from_numpy(x), torch.from_numpy(y)


def test_two_points_each():
    x, y = torch.tensor([[0.0, 0], [2, 0]]), torch.tensor([[0.0, 2], [2, 2]])
    assert full_kernel_distance(x, y).value == pytest.approx(13, rel=1e-12)
    assert full_kernel_distance(x, x).value == pytest.approx(-13, rel=1e-12)


@pytest.mark.parametrize("rows", [2048, 64, 7])
def test_the_seeded_set_in_any_number_of_rows_at_a_time(monkeypatch, rows):
    monkeypatch.setattr(kernel, "CHUNK", rows)
    assert full_kernel_distance(*seeded_set()).value == pytest.approx(0.323187314055, abs=1e-11)


def test_exchanged_sets_are_as_far_apart():
    x, y = seeded_set()
    there, back = full_kernel_distance(x, y), full_kernel_distance(y, x)
    assert there.value == pytest.approx(back.value, rel=1e-12)


def test_subsets_are_those_of_torch_fidelity():
    real, fake = seeded_set()
    theirs = kid_features_to_metric(
        fake,
        real,
        kid_subsets=7,
        kid_subset_size=50,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        rng_seed=2020,
        verbose=False,
    )
    ours = kernel_distance(real, fake, subsets=7, subset_size=50, seed=2020)
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-10)


def test_torchmetrics_finds_the_same_of_all_pairs():
    x, y = seeded_set()
    theirs = poly_mmd(x, y[:200], degree=3, gamma=None, coef=1.0).item()
    assert full_kernel_distance(x, y[:200]).value == pytest.approx(theirs, rel=1e-10)


def test_errors_are_those_of_leaving_groups_out_for_real():
    real, fake = seeded_set()
    dealt = jackknife_groups(len(fake))
    values = [full_kernel_distance(real, fake[dealt != group]).value for group in range(20)]
    expected = (19 / 20 * ((np.array(values) - np.mean(values)) ** 2).sum()) ** 0.5
    assert full_kernel_distance(real, fake).standard_error == pytest.approx(expected, rel=1e-9)


def test_the_error_is_that_of_repeated_draws():
    generator = np.random.default_rng(0)
    real = torch.from_numpy(generator.standard_normal((300, 8)))
    found = [
        kernel_distance(real, torch.from_numpy(generator.standard_normal((200, 8)) * 1.3), 20, 100)
        for _ in range(40)
    ]
    spread = np.std([one.value for one in found])
    # The standard deviation of 40 values is known to 11 %.
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.35)


def test_sets_smaller_than_a_subset_are_refused():
    with pytest.raises(BadInput, match="found 200 real images"):
        kernel_distance(*seeded_set(), subset_size=250)
