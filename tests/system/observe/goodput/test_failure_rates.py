"""The published points, and what lies between them."""

import pytest

from system.observe.goodput.failure_rates import RATES
from system.observe.goodput.failure_rates import llama_s
from system.observe.goodput.failure_rates import meta_s


def test_the_published_points_are_met():
    assert meta_s(1024) / 3600 == pytest.approx(7.9)
    assert meta_s(16384) / 3600 == pytest.approx(1.8)
    assert 54 * 24 * 3600 / llama_s(16384) == pytest.approx(419)


def test_larger_clusters_fail_more_often():
    sizes = [8, 64, 512, 1024, 4096, 16384, 131072]
    for rate in RATES.values():
        assert sorted(map(rate, sizes), reverse=True) == list(map(rate, sizes))
    # Meta projects about 14 minutes at 131,072 by failures that are independent; the power law
    # through the two points is the flatter.
    assert meta_s(131072) / 60 == pytest.approx(35.5, abs=0.5)
