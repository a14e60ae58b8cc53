"""Names are registered, shaped alike, and an unknown one is found out."""

import re

import pytest

from system.telemetry.metrics import METRICS
from system.telemetry.metrics import unregistered


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_every_metric_has_an_area_a_name_and_a_meaning(metric):
    assert re.fullmatch(r"[a-z]+/[a-z0-9_]+", metric.name)
    assert metric.area == metric.name.split("/")[0]
    assert metric.meaning
    assert not metric.meaning.endswith(".")
    endings = {
        "s": "_s",
        "h": "",
        "bytes": "_bytes",
        "dB": "_db",
        "nats": "_nats",
        "images/s": "_per_s",
    }
    assert metric.name.endswith(endings.get(metric.unit, ""))


@pytest.mark.parametrize(
    ("names", "unknown"),
    [
        ([], []),
        (["loss/total"], []),
        (["evaluation/gfid_standard_error"], []),
        (["loss/totl", "loss/total", "a"], ["a", "loss/totl"]),
        (["loss/totl_standard_error"], ["loss/totl_standard_error"]),
    ],
)
def test_unregistered_names_are_listed(names, unknown):
    assert unregistered(names) == unknown
