"""Every alert that operators were promised is there, and the runbook knows what to do."""

import re
from pathlib import Path

import pytest

from system.observe.alerts.rules import GROUPS
from system.telemetry.metrics import METRICS

ROOT = Path(__file__).parents[4]
ALERTS = [alert for alerts in GROUPS.values() for alert in alerts]
RUNBOOK = (ROOT / "ops" / "runbook.md").read_text("utf-8")
SERIES = {metric.prometheus for metric in METRICS.values()}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_its_section_of_the_runbook_says_symptom_where_to_look_and_what_to_do(alert):
    found = re.search(rf"^### {alert.name}\n\n(.*?)(?=^##|\Z)", RUNBOOK, re.DOTALL | re.MULTILINE)
    assert found, f"ops/runbook.md has no section {alert.name}"
    lines = found[1].strip().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["- symptom", "- look at", "- do"]


def test_the_runbook_has_no_section_of_an_alert_that_is_gone():
    sections = re.findall(r"^### (\w+)$", RUNBOOK.partition("## Alerts")[2], re.MULTILINE)
    assert sorted(sections) == sorted(alert.name for alert in ALERTS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_it_asks_for_registered_metrics_alone(alert):
    asked = set(re.findall(r"\blatent_flows_\w+", alert.expression))
    assert asked
    assert asked <= SERIES


def test_names_are_taken_once():
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
