"""Rows of whole runs and campaigns: labelled by what they belong to, and known to the registry."""

import pytest

from system.telemetry.exported_metrics import EXPORTED
from system.telemetry.exported_metrics import OF_CAMPAIGNS
from system.telemetry.exported_metrics import OF_RUNS
from system.telemetry.metrics import METRICS


@pytest.mark.parametrize("metric", EXPORTED, ids=lambda metric: metric.name)
def test_each_is_in_the_registry_under_labels_that_prometheus_takes(metric):
    assert METRICS[metric.name] is metric
    assert all(label.isidentifier() for label in metric.labels)
    assert not {"job", "instance"} & set(metric.labels)


def test_what_belongs_to_a_run_or_a_campaign_says_which():
    assert all("run" in metric.labels for metric in OF_RUNS)
    assert all("campaign" in metric.labels for metric in OF_CAMPAIGNS)
