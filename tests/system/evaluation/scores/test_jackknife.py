"""The jackknife against textbook values, and how images are dealt to its groups."""

import numpy as np
import pytest
import torch

from system.evaluation.scores.jackknife import Estimate
from system.evaluation.scores.jackknife import jackknife
from system.evaluation.scores.jackknife import jackknife_groups
from system.evaluation.scores.jackknife import mean_of
from system.evaluation.scores.jackknife import plain_jackknife
from system.evaluation.scores.jackknife import reach


def test_jackknife_of_a_mean_is_the_textbook_standard_error():
    values = np.random.default_rng(0).standard_normal(40)
    without = [np.delete(values, i).mean() for i in range(40)]
    estimate = jackknife(values.mean(), without)
    assert estimate.standard_error == pytest.approx(values.std(ddof=1) / 40**0.5, rel=1e-12)
    assert estimate.corrected == pytest.approx(values.mean(), rel=1e-9)
    # Student's t of 39 degrees of freedom: the textbook's interval of a mean.
    half = 2.0226909 * estimate.standard_error
    assert estimate.interval == pytest.approx((values.mean() - half, values.mean() + half))


def test_jackknife_takes_the_bias_of_the_plain_variance_away():
    values = np.random.default_rng(0).standard_normal(25)
    without = [np.delete(values, i).var() for i in range(25)]
    assert jackknife(values.var(), without).corrected == pytest.approx(
        values.var(ddof=1), rel=1e-12
    )
    assert plain_jackknife(values.var(), without).corrected == values.var()


def test_twenty_groups_reach_further_than_a_normal_distribution():
    assert reach(20) == pytest.approx(2.0930241, abs=1e-7)
    assert reach(10**6) == pytest.approx(1.96, abs=1e-3)


def test_the_mean_of_two_has_the_error_of_independent_ones():
    both = mean_of([Estimate(2.0, 1.0, 3.0, (0.0, 2.0)), Estimate(4.0, 2.0, 4.0, (0.0, 4.0))])
    assert (both.value, both.corrected, both.standard_error) == (3, 1.5, 2.5)
    # Each side by itself: one and two below the corrected values, one and two above.
    assert both.interval == pytest.approx((1.5 - 5**0.5 / 2, 1.5 + 5**0.5 / 2))


@pytest.mark.parametrize("count", [1000, 1007])
def test_every_twenty_images_in_a_row_go_to_twenty_groups(count):
    dealt = jackknife_groups(count)
    assert torch.equal(dealt, jackknife_groups(count))
    assert torch.equal(jackknife_groups(count + 400)[:count], dealt)
    rows = dealt[: count // 20 * 20].view(-1, 20)
    assert torch.equal(rows.sort(dim=1).values, torch.arange(20).expand(len(rows), 20))
    size = torch.bincount(dealt, minlength=20)
    assert size.max() - size.min() <= 1


@pytest.mark.parametrize("label", ["sorted", "in turns"])
def test_classes_are_spread_over_groups_in_whatever_order_they_come(label):
    count, classes = 10_000, 100
    number = torch.arange(count)
    label = number // (count // classes) if label == "sorted" else number % classes
    table = torch.zeros(20, classes).index_put_(
        (jackknife_groups(count), label), torch.ones(count), accumulate=True
    )
    # Five of each on average; no group lacks a class, and none has it all.
    assert table.min() >= 0
    assert (table > 0).float().mean() > 0.98
    assert table.max() <= 20
