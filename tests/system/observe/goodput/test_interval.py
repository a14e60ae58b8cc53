"""The closed forms agree with one another in their limits, and the best is the best."""

from dataclasses import replace

import pytest

from system.observe.goodput.costs import Costs
from system.observe.goodput.interval import best_s
from system.observe.goodput.interval import cycle_s
from system.observe.goodput.interval import daly_s
from system.observe.goodput.interval import expected_goodput
from system.observe.goodput.interval import young_s

COSTS = Costs(5.0, 0.0, 30.0, 90.0, 90.0, 0.0)


@pytest.mark.parametrize(("failure_s", "within"), [(1e5, 0.02), (1e7, 0.002), (1e9, 0.0002)])
def test_for_rare_failures_all_intervals_are_youngs(failure_s, within):
    young = young_s(5.0, failure_s)
    assert best_s(COSTS, failure_s) == pytest.approx(young, rel=within)
    assert daly_s(5.0, failure_s) == pytest.approx(young, rel=within)


@pytest.mark.parametrize("failure_s", [200.0, 1e3, 1e4, 1e6])
def test_dalys_is_near_the_best_and_nothing_beats_that(failure_s):
    best = best_s(COSTS, failure_s)
    assert daly_s(5.0, failure_s) == pytest.approx(best, rel=0.01)
    top = expected_goodput(COSTS, best, failure_s)
    for factor in (0.2, 0.5, 0.9, 0.99, 1.01, 1.1, 2.0, 5.0):
        assert expected_goodput(COSTS, best * factor, failure_s) < top


def test_the_best_does_not_depend_on_what_a_failure_costs():
    other = replace(COSTS, detection_s=600.0, start_up_s=900.0, upload_s=1.0)
    assert best_s(other, 1e4) == best_s(COSTS, 1e4)


def test_a_save_waits_for_the_upload_before_it():
    slow = replace(COSTS, upload_s=2000.0)
    assert best_s(slow, 1e4) == 2000.0 - 5.0
    assert cycle_s(slow, 100.0) == 2000.0
    assert cycle_s(COSTS, 100.0) == 105.0


def test_young_and_daly_of_published_examples():
    # sqrt(2 s M) for five minutes and a day; Daly's correction takes about 2 % of it off.
    assert young_s(300.0, 86400.0) == pytest.approx(7200.0)
    assert daly_s(300.0, 86400.0) == pytest.approx(7001.2, abs=0.5)
    assert daly_s(10.0, 4.0) == 4.0


def test_without_costs_nothing_is_lost():
    free = Costs(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert expected_goodput(free, best_s(free, 1e5), 1e5) == pytest.approx(1.0, abs=1e-6)
    assert expected_goodput(replace(free, data_wait_share=0.1), 1.0, 1e6) == pytest.approx(
        0.9, abs=1e-5
    )
