import re

import pytest

from data_pipeline.audit.lineage import trace
from system.foundation.errors import DataError
from system.telemetry.ledger import read_ledger
from tests.data_pipeline.audit.ledgers import BATCH
from tests.data_pipeline.audit.ledgers import write_attempt


def test_what_restarts_undid_does_not_count(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[2, 2, 1])
    write_attempt(tmp_path, digits, digits_data(), attempt=2, start=2 * BATCH, intervals=[1, 3])
    lineage = trace(read_ledger(str(tmp_path)))
    assert [
        (each.attempt, each.start // BATCH, each.stop // BATCH) for each in lineage.intervals
    ] == [
        (1, 0, 2),
        (2, 2, 3),
        (2, 3, 6),
    ]
    assert lineage.attempts == 2
    assert lineage.stop == 6 * BATCH
    assert [(start // BATCH, stop // BATCH) for _, start, stop in lineage.undone] == [
        (4, 5),
        (2, 4),
    ]
    assert not lineage.violations


@pytest.mark.parametrize(
    ("start", "message"),
    [(3, r"no more than 240.*without an account"), (1, r"inside an interval \(0 to 240\)")],
)
def test_a_restart_that_does_not_fit_is_a_violation(tmp_path, digits, digits_data, start, message):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[2])
    write_attempt(tmp_path, digits, digits_data(), attempt=2, start=start * BATCH, intervals=[1])
    (violation, *_) = trace(read_ledger(str(tmp_path))).violations
    assert re.search(message, violation)


def test_an_interval_that_is_missing_is_a_violation(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[2, 2, 2])
    events = read_ledger(str(tmp_path))
    without = [event for event in events if event.get("start") != 2 * BATCH]
    assert len(without) == len(events) - 1
    (violation,) = trace(without).violations
    assert "240 to 480 were consumed never" in violation
    doubled = [*events, next(event for event in events if event.get("start") == 2 * BATCH)]
    assert any("consumed twice" in each for each in trace(doubled).violations)


def test_the_first_interval_may_not_be_missing_either(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[2, 2])
    write_attempt(tmp_path, digits, digits_data(), attempt=2, start=0, intervals=[1, 2])
    for attempt, first in ((1, 2), (2, 1)):
        events = [
            event
            for event in read_ledger(str(tmp_path))
            if event["attempt"] <= attempt
            and (event["kind"], event["attempt"], event.get("start")) != ("consumed", attempt, 0)
        ]
        (violation,) = trace(events).violations
        assert f"positions 0 to {first * BATCH} were consumed never" in violation


def test_a_checkpoint_beyond_the_last_interval_is_a_violation(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[2, 2])
    events = read_ledger(str(tmp_path))
    end = {"kind": "checkpoint", "attempt": 1, "images_seen": 4 * BATCH, "time": 0.0}
    assert not trace([*events, end]).violations
    (violation,) = trace([*events[:-1], end]).violations
    assert "came to position 480, but the ledger accounts for no more than 240" in violation


def test_clocks_say_nothing_within_an_attempt(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[2, 2])
    write_attempt(tmp_path, digits, digits_data(), attempt=2, start=2 * BATCH, intervals=[1, 1])
    events = read_ledger(str(tmp_path))
    bad = {"kind": "bad_sample", "attempt": 1, "position": 3, "time": events[-1]["time"] + 60}
    expected = trace([bad | {"time": 0.0}, *events])
    assert expected.intervals[0].bad
    assert not expected.violations
    turned = [event | {"time": 1e9 - event["time"]} for event in events]
    found = trace([bad, *turned])
    assert not found.violations
    assert [(each.start, each.stop, len(each.bad)) for each in found.intervals] == [
        (each.start, each.stop, len(each.bad)) for each in expected.intervals
    ]


def test_intervals_of_an_attempt_that_never_began_are_a_violation(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[2])
    write_attempt(tmp_path, digits, digits_data(), attempt=2, start=2 * BATCH, intervals=[1])
    events = read_ledger(str(tmp_path))
    events = [e for e in events if (e["kind"], e["attempt"]) != ("stream_opened", 2)]
    (violation,) = trace(events).violations
    assert "attempt 2 consumed positions 240 to 360" in violation


@pytest.mark.parametrize("change", [{"stop": None}, {"digests": {"0": "no number"}}, {"stop": 0}])
def test_an_event_that_no_run_writes_is_refused(tmp_path, digits, digits_data, change):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[2])
    events = read_ledger(str(tmp_path))
    with pytest.raises(DataError, match="an event that no run writes"):
        trace([*events, events[-1] | change])
    trace([*events, {"kind": "of another program", "time": 0.0}])


def test_a_ledger_without_an_account_is_refused():
    with pytest.raises(DataError, match="no account of its data"):
        trace([{"kind": "attempt_started", "attempt": 1, "time": 0.0}])


def test_what_was_left_out_by_name_keeps_its_place(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[2, 1, 2])
    events = [
        event | {"kind": "positions_left_out", "reason": "a spike"}
        if event.get("start") == 2 * BATCH
        else event
        for event in read_ledger(str(tmp_path))
    ]
    lineage = trace(events)
    assert not lineage.violations
    assert [each.left_out for each in lineage.intervals] == [None, "a spike", None]
