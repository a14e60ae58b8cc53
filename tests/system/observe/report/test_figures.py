from pathlib import Path

import pytest

from system.observe.report.figures import best_probe
from system.observe.report.figures import classifier_chart
from system.observe.report.figures import missing
from system.observe.report.figures import noise_charts
from system.observe.report.figures import panel_charts
from system.observe.report.figures import training_charts
from system.observe.report.folder import read_folder
from system.observe.report.panels import DRAWN
from system.observe.report.panels import RECONSTRUCTED
from system.telemetry.ledger import Ledger
from tests.system.observe.report.conftest import measured


def by_label(chart):
    return {each.label: each for each in chart.series}


def test_gfid_has_its_interval_its_corrected_value_and_its_floor(run_url):
    (chart,) = panel_charts(read_folder(run_url), DRAWN)
    series = by_label(chart)
    assert [point.value for point in series["gFID"].points] == [9.0, 3.25]
    low, high = series["gFID"].points[1].interval
    assert high - low == pytest.approx(2 * 1.959963984540054 * 0.5)
    assert [point.value for point in series["gFID, corrected"].points] == [8.0, 2.25]
    assert series["floor"].points[0].value == 0.75
    assert series["floor"].form == "level"


def test_a_course_that_spans_much_has_a_log_axis(run_url, evaluated):
    for seen, value in ((1000, 3.0), (2000, 9.0)):
        evaluated(f"{seen:012d}-z.json", seen, {"evaluation/rfid": measured(value)})
    assert not panel_charts(read_folder(run_url), RECONSTRUCTED)[0].is_log
    evaluated("000000000500-z.json", 500, {"evaluation/rfid": measured(99.0)})
    assert panel_charts(read_folder(run_url), RECONSTRUCTED)[0].is_log


def test_a_stated_interval_is_drawn_at_the_corrected_value(run_url, evaluated):
    stated = measured(8.0, "f" * 32, corrected=6.0, standard_error=0.5, interval=[5.0, 7.5])
    for seen in (3000, 4000, 5000):
        evaluated(f"{seen:012d}-digits.json", seen, {"evaluation/gfid": stated})
    (chart,) = panel_charts(read_folder(run_url), DRAWN)
    series = by_label(chart)
    assert {point.interval for point in series["gFID"].points} == {None}
    assert {point.interval for point in series["gFID, corrected"].points} == {(5.0, 7.5)}


def test_values_of_other_protocols_are_said_to_be_left_out(run_url, evaluated):
    evaluated("000000002000-z.json", 2000, {"evaluation/gfid": measured(70.0, "e" * 32)})
    (chart,) = panel_charts(read_folder(run_url), DRAWN)
    assert "1 of other protocols" in chart.note


def test_the_best_probe_of_trained_weights_stands_beside_the_classifiers(run_url, evaluated):
    shares = {"block0_layer1_trained": 0.5, "block1_layer1_trained": 0.8, "block1_layer1_fresh": 1}
    numbers = {f"evaluation/probe_{k}_accuracy": measured(v) for k, v in shares.items()}
    numbers["evaluation/probe_block0_layer1_trained_top5_accuracy"] = measured(1.0)
    evaluated("000000002000-probe.json", 2000, numbers)
    run = read_folder(run_url)
    assert best_probe(run).name == "evaluation/probe_block1_layer1_trained_accuracy"
    assert best_probe(run, 1000) is None
    probes = by_label(classifier_chart(run))["best linear probe"]
    assert [(point.at, point.value) for point in probes.points] == [(2000, 0.8)]


def test_noise_has_strength_as_its_axis(run_url, evaluated):
    numbers = {
        f"evaluation/rfid_noise_{level}": measured(1.0 + int(level)) for level in ("000", "050")
    }
    evaluated("000000002000-latents.json", 2000, numbers)
    (chart,) = noise_charts(read_folder(run_url))
    assert [(point.at, point.value) for point in chart.series[0].points] == [(0, 1.0), (0.5, 51.0)]


def test_training_shows_where_an_attempt_began_again(run_url):
    with Ledger(run_url, "worker-0", run="r", attempt=2) as ledger:
        ledger.write("resumed", images_seen=700)
    charts = training_charts(read_folder(run_url))
    assert [chart.title for chart in charts] == ["objective"]
    assert charts[0].breaks == [700.0]
    assert [point.value for point in charts[0].series[0].points] == [2.0, 1.0]


def test_what_was_not_measured_is_named_with_its_command(run_url):
    found = dict(missing(read_folder(run_url)))
    assert "gFID" not in found
    assert found["linear probes"] == f"python jobs/probe.py checkpoint={run_url}"
    for command in found.values():
        assert (Path(__file__).parents[4] / command.split()[1]).exists(), command
