"""The summary says every number with its protocol, and counts what happened."""

import json

import pytest

from system.foundation import storage
from system.observe.summary import newest_measurements
from system.observe.summary import summarise
from system.observe.summary import table
from system.observe.summary import write_summary
from system.telemetry.attribution import CAUSES
from system.telemetry.ledger import Ledger

PROTOCOL = {"preset": "digits", "metric": "frechet_distance"}


def report(attempt, time, seen, rate):
    values = {"throughput/images_per_s": rate}
    return {
        "kind": "report", "attempt": attempt, "time": time, "images_seen": seen, "values": values
    }  # fmt: skip


def events():
    gfid = {"evaluation/gfid": 4.0, "evaluation/gfid_standard_error": 0.25}
    return [
        {"kind": "attempt_started", "attempt": 1, "time": 0.0},
        report(1, 1.0, 100, 10.0),
        report(1, 3.0, 200, 30.0),
        {"kind": "skipped_update", "attempt": 1, "time": 3.5},
        {"kind": "attempt_started", "attempt": 2, "time": 10.0},
        report(2, 11.0, 200, 20.0),
        report(2, 15.0, 300, 90.0),
        {"kind": "evaluation", "attempt": 2, "time": 15.5, "images_seen": 200, "values": gfid},
        {"kind": "evaluation_failed", "attempt": 2, "time": 15.6, "images_seen": 300},
        {"kind": "run_finished", "attempt": 2, "time": 16.0, "images_seen": 300, "seconds": 14.0},
    ]


def test_summary_counts_and_names():
    gfid = {"value": 4.0, "standard_error": 0.25, "protocol": PROTOCOL, "images_seen": 200}
    measurements = {"evaluation/gfid": gfid}
    content = summarise(events(), measurements, {"curves": "c.png"})
    assert content["images_seen"] == 300
    assert content["wall_s"] == 14.0
    assert content["training_s"] == 6.0
    assert content["images_per_s"] == 25.0
    assert (content["attempts"], content["restarts"]) == (2, 1)
    assert content["skipped_updates"] == 1
    assert content["failed_evaluations"] == 1
    assert content["numbers"]["evaluation/gfid"]["protocol"] == PROTOCOL
    assert content["numbers"]["evaluation/gfid"]["meaning"]
    assert content["numbers"]["evaluation/gfid"]["images_seen"] == 200
    assert content["course"] == {"evaluation/gfid": [(200, 4.0)]}
    text = table(content)
    assert "evaluation/gfid  4 ± 0.25" in text
    assert "measured at 200 images" in text
    assert "300 images in 0:14, 25 images/s, 1 restarts, goodput 44%" in text
    spent = content["goodput"]
    assert spent["wall_s"] == 16.0
    assert spent["share"] == pytest.approx(7 / 16)
    assert sum(spent[f"{cause}_s"] for cause in CAUSES) == 16.0
    assert "c.png" in text


def test_a_run_that_has_told_nothing_yet():
    content = summarise([], {}, {})
    assert content["images_per_s"] is None
    assert content["restarts"] == 0
    assert content["goodput"] == {}
    assert "0 images in 0:00, 0 restarts" in table(content)


def test_the_newest_evaluation_counts_and_the_file_is_written(tmp_path):
    url = str(tmp_path)
    for seen, value in ((100, 9.0), (2000, 3.0)):
        rfid = {"value": value, "protocol": PROTOCOL}
        one = {"images_seen": seen, "measurements": {"evaluation/rfid": rfid}}
        storage.write_bytes(f"{url}/eval/{seen:012d}-digits.json", json.dumps(one).encode())
    with Ledger(url, "driver", run="r") as ledger:
        ledger.write("run_finished", images_seen=2000, seconds=1.5)
    assert newest_measurements(url)["evaluation/rfid"]["value"] == 3.0
    content = write_summary(url, {})
    assert json.loads((tmp_path / "summary.json").read_text()) == content
    assert content["numbers"]["evaluation/rfid"]["value"] == 3.0
    assert content["numbers"]["evaluation/rfid"]["images_seen"] == 2000


def test_no_evaluation_no_numbers(tmp_path):
    assert newest_measurements(str(tmp_path)) == {}


def test_evaluations_of_one_checkpoint_stand_side_by_side_and_probes_are_left_out(tmp_path):
    one = {"value": 1.0, "protocol": PROTOCOL}
    for seen, kind, name in (
        (100, "latents", "evaluation/latent_std"),
        (200, "digits", "evaluation/rfid"),
        (200, "nearest", "evaluation/nearest_share"),
        (200, "probe", "evaluation/probe_block0_layer1_trained_accuracy"),
    ):
        content = {"images_seen": seen, "measurements": {name: one}}
        place = f"{tmp_path}/eval/{seen:012d}-{kind}.json"
        storage.write_bytes(place, json.dumps(content).encode())
    found = write_summary(str(tmp_path), {})["numbers"]
    assert set(found) == {"evaluation/rfid", "evaluation/nearest_share"}
