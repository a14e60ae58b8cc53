"""What Prometheus calls a metric."""

import pytest

from system.telemetry.metric import Metric
from system.telemetry.metric import prometheus_name


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (Metric("throughput/images_per_s", "", "m"), "latent_flows_throughput_images_per_s"),
        (Metric("run/restarts", "", "m", kind="counter"), "latent_flows_run_restarts_total"),
    ],
)
def test_its_name_in_prometheus(metric, name):
    assert metric.prometheus == name


def test_an_uncertainty_has_a_name_too():
    name = "latent_flows_evaluation_gfid_standard_error"
    assert prometheus_name("evaluation/gfid_standard_error") == name
