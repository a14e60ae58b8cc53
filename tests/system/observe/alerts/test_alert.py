"""An alert as a rule and as its tests."""

import pytest

from system.observe.alerts.alert import Alert
from system.observe.alerts.alert import called

ALERT = Alert(
    "Late", f"{called('run/stalled_s')} > 5", 3, "page", "run {run} is late",
    fires={("run/stalled_s", ""): "9x60"}, rests={("run/stalled_s", ""): "1x60"},
)  # fmt: skip


def test_the_rule_names_whom_it_is_about_and_where_to_read_on():
    rule = ALERT.rule()
    assert rule["expr"] == "latent_flows_run_stalled_s > 5"
    assert rule["for"] == "3m"
    assert rule["annotations"] == {
        "summary": "run {{ $labels.run }} is late",
        "runbook": "ops/runbook.md#late",
    }


def test_the_tests_are_a_firing_and_a_silent_case():
    fires, rests = ALERT.tests()
    assert fires["input_series"] == [
        {"series": 'latent_flows_run_stalled_s{run="one"}', "values": "9x60"}
    ]
    (told,) = fires["alert_rule_test"][0]["exp_alerts"]
    assert told["exp_labels"] == {"severity": "page", "run": "one"}
    assert told["exp_annotations"]["summary"] == "run one is late"
    assert rests["alert_rule_test"][0]["exp_alerts"] == []


def test_a_metric_that_nobody_registered_cannot_be_asked_for():
    with pytest.raises(KeyError):
        called("run/nothing")
