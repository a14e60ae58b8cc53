"""The vectors are those of the published analyses, and torch-fidelity's own score."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch_fidelity.metric_isc import isc_features_to_metric

from system.evaluation.scores.inception_score import inception_score
from system.evaluation.scores.inception_score import keyed_order
from system.evaluation.scores.inception_score import numpy_order
from system.evaluation.scores.jackknife import jackknife_groups
from system.foundation.errors import BadInput


@pytest.fixture(scope="module")
def logits():
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2000, 10)) * 3)


def sure_of(label: torch.Tensor, classes: int) -> torch.Tensor:
    return 100 * torch.nn.functional.one_hot(label, classes).float()


def test_no_idea_is_one_and_certainty_of_every_class_their_number():
    assert inception_score(torch.zeros(60, 7), 2).value == pytest.approx(1, abs=1e-14)
    label = torch.arange(70) % 7
    assert inception_score(sure_of(label, 7), 1).value == pytest.approx(7, rel=1e-10)


def test_order_decides_what_a_perfect_classifier_gets():
    # A thousand classes of fifty, at a tenth of the size: a hundred of fifty, in ten splits.
    label = torch.arange(5000) // 50
    logits = sure_of(label, 100)
    assert inception_score(logits, 10).value == pytest.approx(10, rel=1e-9)
    interleaved = sure_of(torch.arange(5000) % 100, 100)
    assert inception_score(interleaved, 10).value == pytest.approx(100, rel=1e-9)
    shuffled = inception_score(logits, 10, keyed_order(5000, 0)).value
    # The entropy lost of 500 balanced draws without replacement: (100 - 1) / 2 / 500 * 9 / 10.
    assert shuffled == pytest.approx(100 * math.exp(-0.0891), rel=0.01)


@pytest.mark.slow
def test_a_thousand_classes_in_any_order():
    logits = sure_of(torch.arange(50_000) // 50, 1000)
    assert inception_score(logits, 10).value == pytest.approx(100, rel=1e-9)
    assert inception_score(logits, 10, torch.arange(50_000).view(1000, 50).T.reshape(-1)).value == (
        pytest.approx(1000, rel=1e-9)
    )
    # Of 40 permutations by NumPy the mean is 909.8, the standard deviation 1.5.
    shuffled = inception_score(logits, 10, keyed_order(50_000, 0)).value
    assert shuffled == pytest.approx(909.8, abs=3 * 1.5)


@pytest.mark.parametrize("splits", [1, 3, 10])
def test_torch_fidelity_finds_the_same(logits, splits):
    shuffled = isc_features_to_metric(logits, splits, shuffle=True, rng_seed=2020)
    ours = inception_score(logits, splits, numpy_order(2000, 2020)).value
    assert ours == pytest.approx(shuffled["inception_score_mean"], rel=1e-12)
    given = isc_features_to_metric(logits, splits, shuffle=False)
    assert inception_score(logits, splits).value == pytest.approx(
        given["inception_score_mean"], rel=1e-12
    )


def test_scipy_finds_the_same_of_one_split(logits):
    p = softmax(logits.numpy(), axis=1)
    expected = np.exp(entropy(p, p.mean(axis=0, keepdims=True), axis=1).mean())
    assert inception_score(logits, 1).value == pytest.approx(expected, rel=1e-12)


def test_the_error_is_that_of_leaving_groups_out_for_real(logits):
    dealt = jackknife_groups(2000)
    values = [inception_score(logits[dealt != group], 1).value for group in range(20)]
    expected = (19 / 20 * ((np.array(values) - np.mean(values)) ** 2).sum()) ** 0.5
    assert inception_score(logits, 1).standard_error == pytest.approx(expected, rel=1e-8)


def test_orders_are_permutations_that_a_seed_decides():
    for order in (keyed_order, numpy_order):
        assert sorted(order(100, 1).tolist()) == list(range(100))
        assert torch.equal(order(100, 1), order(100, 1))
        assert not torch.equal(order(100, 1), order(100, 2))


def test_splits_of_a_handful_are_refused():
    with pytest.raises(BadInput, match="found 100 images for 10 splits"):
        inception_score(torch.zeros(100, 3), 10)
