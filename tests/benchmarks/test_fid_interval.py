"""Populations whose distance is known, and the suite with few draws."""

import pytest

from tests.benchmarks.fid_interval import Scale
from tests.benchmarks.fid_interval import rows
from tests.benchmarks.parts.intervals import Scenario
from tests.benchmarks.parts.intervals import coverage
from tests.benchmarks.parts.intervals import intervals

SMALL = Scenario("small", width=4, images=400, decay=1, difference=0.4, shift=0.2)


def test_a_draw_is_a_function_of_its_number():
    assert intervals(SMALL, range(2, 4)) == intervals(SMALL, range(4))[2:]


def test_coverage_counts_the_intervals_that_hold_the_truth():
    truth = coverage(SMALL, [(0.0, 0.0, 1.0, 0.0, 0.0)] * 2).truth
    draws = [(truth + 1, truth, 2.0, truth - 1, truth + 1), (truth, truth, 2.0, 0.0, truth / 2)]
    found = coverage(SMALL, draws)
    assert (found.covered, found.spread, found.error) == (0.5, 0, 2)
    assert found.plain == pytest.approx(truth + 0.5)


def test_a_population_against_itself_is_at_no_distance():
    same = Scenario("same", width=4, images=100, decay=1, difference=0)
    assert coverage(same, [(0.0, 0.0, 1.0, 0.0, 0.0)] * 2).truth == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
def test_most_intervals_cover_the_truth():
    found = {row.name: row for row in rows(Scale(draws=100, scenarios=(SMALL,)))}
    assert found["small: covered"].value >= 85  # of a hundred draws: five standard deviations
    bias = found["small: corrected value less truth"].value
    assert abs(bias) < 3 * found["small: spread of corrected values"].value / 10
