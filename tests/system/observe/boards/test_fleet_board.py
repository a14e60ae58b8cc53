"""The board of all runs has what operators look for first."""

import pytest

from system.observe.boards.fleet_board import FLEET
from system.telemetry.metrics import METRICS


@pytest.mark.parametrize(
    "name",
    [
        "run/state", "throughput/images_per_s", "goodput/share", "evaluation/gfid",
        "run/restarts", "run/cost_usd", "exporter/last_read_time_s",
    ],
)  # fmt: skip
def test_it_shows(name):
    assert any(METRICS[name].prometheus in query.expression for query in FLEET.queries)


def test_every_query_follows_the_choice_of_runs():
    asked = [q.expression for q in FLEET.queries if "latent_flows_exporter" not in q.expression]
    assert all('{run=~"$run"' in expression for expression in asked)
