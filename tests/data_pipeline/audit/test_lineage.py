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


def test_a_ledger_without_an_account_is_refused():
    with pytest.raises(DataError, match="no account of its data"):
        trace([{"kind": "attempt_started", "attempt": 1, "time": 0.0}])
