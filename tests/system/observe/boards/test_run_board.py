"""The board of a run: every number of evaluations once, errors beside the main ones, all causes."""

import pytest

from system.observe.boards.run_board import RUN
from system.telemetry.attribution import CAUSES
from system.telemetry.metrics import METRICS

TITLES = {panel.title: panel for row in RUN.rows for panel in row.panels}


def test_every_number_of_evaluations_is_in_one_picture_that_can_be_read():
    everything = RUN.rows[-1]
    counts = [len(panel.queries) for panel in everything.panels]
    numbers = [name for name, metric in METRICS.items() if metric.area == "evaluation"]
    assert sum(counts) == len(numbers) - 2  # but for the clock and the time it took
    assert 0 < min(counts) <= max(counts) <= 8


@pytest.mark.parametrize("title", ["gFID", "rFID"])
def test_distances_have_two_standard_errors_to_either_side(title):
    legends = [query.legend for query in TITLES[title].queries]
    assert sum(legend.endswith("+2 s.e.") for legend in legends) == 2
    assert sum(legend.endswith("-2 s.e.") for legend in legends) == 2


def test_lost_time_is_shown_by_every_cause():
    assert [query.legend for query in TITLES["Time by cause"].queries] == list(CAUSES)


def test_stragglers_are_a_heat_map_by_worker():
    assert TITLES["Stragglers"].look == "heatmap"
    assert "sum by (rank)" in TITLES["Stragglers"].queries[0].expression
