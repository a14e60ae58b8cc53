"""The board of campaigns has leaderboard, rungs and budget."""

import pytest

from system.observe.boards.campaign_board import CAMPAIGN
from system.telemetry.exported_metrics import OF_CAMPAIGNS


@pytest.mark.parametrize("metric", OF_CAMPAIGNS, ids=lambda metric: metric.name)
def test_it_shows_all_that_is_known_of_campaigns(metric):
    assert any(metric.prometheus in query.expression for query in CAMPAIGN.queries)


def test_every_query_follows_the_choice_of_campaigns():
    assert all('{campaign=~"$campaign"' in query.expression for query in CAMPAIGN.queries)


def test_the_leaderboard_has_a_line_for_each_trial():
    (table,) = [p for row in CAMPAIGN.rows for p in row.panels if p.look == "table"]
    join, names = table.to_json(1, 0, 0)["transformations"]
    assert join["options"]["byField"] == "trial"
    assert names["options"]["renameByName"]["Value #A"] == "place"
