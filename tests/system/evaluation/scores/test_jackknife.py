"""The jackknife against textbook values."""

import numpy as np
import pytest

from system.evaluation.scores.jackknife import jackknife


def test_jackknife_of_a_mean_is_the_textbook_standard_error():
    values = np.random.default_rng(0).standard_normal(40)
    without = [np.delete(values, i).mean() for i in range(40)]
    estimate = jackknife(values.mean(), without)
    assert estimate.standard_error == pytest.approx(values.std(ddof=1) / 40**0.5, rel=1e-12)
    assert estimate.corrected == pytest.approx(values.mean(), rel=1e-9)


def test_jackknife_takes_the_bias_of_the_plain_variance_away():
    values = np.random.default_rng(0).standard_normal(25)
    estimate = jackknife(values.var(), [np.delete(values, i).var() for i in range(25)])
    assert estimate.corrected == pytest.approx(values.var(ddof=1), rel=1e-12)
