import json
import shutil
from pathlib import Path

from system.observe.status.watched_run import WatchedRun
from system.telemetry.ledger import Ledger


def told(run: WatchedRun, since: str | None = None) -> dict:
    run.look()
    return run.changes.since(since)


def test_a_run_is_sections_that_json_can_hold(run_url):
    found = told(WatchedRun(run_url))["changed"]
    assert {"chart:gFID", "chart:objective", "strip", "time", "happened", "recipe"} <= found.keys()
    assert found["numbers"][0]["label"] == "gFID"
    assert found["recipe"] == [
        {"key": "run.name", "value": "a <run>", "origin": "not written down"}
    ]
    assert found["starts"][0]["commit"] == "abc123"
    assert found["happened"]["rows"][0]["more"] == "reason <b>two</b> were waiting"
    assert found["time"]["causes"]
    assert found["faults"] == []
    json.dumps(found, allow_nan=False)


def test_only_what_moved_is_told_again(run_url):
    run = WatchedRun(run_url)
    mark = told(run)["mark"]
    assert told(run, mark)["changed"] == {}
    with Ledger(run_url, "worker-0", run="r", attempt=1) as ledger:
        ledger.write("report", images_seen=2500, values={"loss/total": 0.5})
    news = told(run, mark)["changed"]
    assert news["chart:objective"]["series"][-1]["x"] == [500, 1000, 2500]
    assert "chart:gFID" not in news
    assert "recipe" not in news


def test_another_evaluation_moves_its_curve_and_the_strip(run_url, evaluated):
    run = WatchedRun(run_url)
    mark = told(run)["mark"]
    gfid = {"value": 2.5, "protocol": {"samples": 400}, "protocol_digest": "a" * 32}
    evaluated("000000003000-digits.json", 3000, {"evaluation/gfid": gfid})
    samples = Path(run_url) / "samples"
    shutil.copy(samples / "000000002000.png", samples / "000000003000.png")
    news = told(run, mark)["changed"]
    assert news["chart:gFID"]["series"][0]["x"] == [1000, 2000, 3000]
    assert [each["images"] for each in news["strip"]] == [1000, 2000, 3000]
    assert news["numbers"][0]["value"] == "2.50"


def test_odd_lines_are_left_out_and_said(run_url):
    lines = (
        'not json\n{"time": 1, "kind": "report"}\n'
        '{"time": 2, "kind": "report", "images_seen": 9, "values": "odd"}\n'
        '{"time": 3, "kind": "report", "images_seen": 9, "values": {"loss/total": "x"}}\n'
        '{"time": 4, "kind": "evaluation", "images_seen": 9, "values": {"loss/total": NaN}}\n'
        '{"time": 5, "kind": "run_finished"}\n'
    )
    (Path(run_url) / "ledger" / "z.jsonl").write_text(lines)
    (Path(run_url) / "provenance.json").write_text("{")
    found = told(WatchedRun(run_url))["changed"]
    faults = " / ".join(found["faults"])
    assert "passed over 1 line" in faults
    assert "left out 2 events" in faults
    assert "provenance.json" in faults
    assert found["chart:objective"]["series"][-1]["x"] == [500, 1000]
    json.dumps(found, allow_nan=False)


def test_a_run_without_evaluations_and_one_that_is_no_run(tmp_path):
    with Ledger(str(tmp_path / "new"), "driver", run="new") as ledger:
        ledger.write("driver_started", process=1)
    found = told(WatchedRun(str(tmp_path / "new")))["changed"]
    assert (found["strip"], found["numbers"], found["recipe"]) == ([], [], [])
    assert not [key for key in found if key.startswith("chart:")]
    nothing = told(WatchedRun(str(tmp_path / "nothing")))["changed"]
    assert nothing["faults"] == ["recipe.yaml: missing", "provenance.json: missing"]


def test_a_store_that_is_away_leaves_what_was_there(run_url):
    run = WatchedRun(run_url)
    told(run)
    away = Path(run_url).rename(run_url + " away")
    Path(run_url).write_text("a file where the folder was")
    again = told(run)["changed"]
    assert again["chart:gFID"]["series"]
    away.rename(run_url + " back")
