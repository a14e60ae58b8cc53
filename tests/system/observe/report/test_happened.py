from system.observe.report.folder import RunFolder
from system.observe.report.folder import read_folder
from system.observe.report.happened import MOST_ROWS
from system.observe.report.happened import counts
from system.observe.report.happened import headline
from system.observe.report.happened import moment
from system.observe.report.happened import provenance
from system.observe.report.happened import trouble


def run(*events, starts=(), recipe=None) -> RunFolder:
    return RunFolder("runs/x", events, (), {}, {}, recipe, starts, ())


def test_trouble_is_counted_and_told(run_url):
    found = read_folder(run_url)
    assert counts(found) == "1 attempt; evaluation dropped: 1."
    rows = trouble(found)
    assert "&lt;b&gt;two&lt;/b&gt; were waiting" in rows
    assert "1,500" in rows


def test_a_quiet_run_says_so():
    event = {"time": 0.0, "kind": "attempt_started"}
    assert "no restart" in counts(run(event))
    assert trouble(run(event)) == ""


def test_of_very_many_events_the_last_are_shown():
    events = [
        {"time": float(i), "kind": "skipped_update", "images_seen": i} for i in range(MOST_ROWS + 5)
    ]
    text = trouble(run(*events))
    assert "5 earlier ones" in text
    assert text.count("<tr>") == MOST_ROWS + 1


def test_the_headline_says_how_far_and_how_long(run_url):
    text = headline(read_folder(run_url))
    assert "2,000 images seen, finished after 1:15" in text
    assert "2 checkpoints evaluated" in text
    assert "not finished" in headline(run({"time": 0.0, "kind": "report", "images_seen": 5}))
    assert "last heard" not in headline(run())


def test_times_are_utc_and_odd_ones_no_error():
    assert moment(0) == "1970-01-01 00:00:00"
    assert moment(1e300) == "no time"


def test_provenance_shows_command_versions_and_recipe():
    start = {"arguments": ["jobs/<x>.py"], "commit": "abc", "versions": {"torch": "2"}}
    text = provenance(run(starts=[start, {"versions": 3}], recipe="a: <b>"))
    assert "jobs/&lt;x&gt;.py" in text
    assert "<code>2</code>" in text
    assert "a: &lt;b&gt;" in text
