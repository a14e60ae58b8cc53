"""The account of a run as a person reads it."""

import pytest

from system.foundation.errors import BadInput
from system.observe.goodput.table import Asking
from system.observe.goodput.table import answer
from system.observe.goodput.table import label
from system.observe.goodput.table import meaning
from system.observe.goodput.table import share
from system.observe.goodput.table import text
from system.telemetry.attribution import CAUSES
from system.telemetry.goodput import account
from system.telemetry.ledger import Ledger
from tests.system.telemetry.histories import killed_once


def test_every_cause_has_its_line_and_every_attempt():
    told = text(account(killed_once())).splitlines()
    assert told[0] == "goodput 29.1% of 1:01"
    rows = {line.split("  ")[1]: line.split() for line in told[3 : 3 + len(CAUSES) + 1]}
    assert rows["productive"][1:3] == ["17.8", "29.10%"]
    assert rows["detection"][1:3] == ["6.0", "9.84%"]
    assert rows["wall time"][2:] == ["61.0", "100.00%"]
    assert told[-2].split() == ["1", "13.0", "4.8", "0.0", "1.0", "6.0"]
    assert told[-1].split() == ["2", "7.0", "13.0", "1.0", "3.0", "0.0"]


def test_time_without_a_driver_is_told_apart():
    later = {"kind": "driver_started", "time": 300.0, "attempt": 0, "process_started": 261.0}
    told = text(account([*killed_once(), later]))
    assert told.startswith("goodput 8.9% of 3:20, 17.8% of the time with a driver")


def test_shares_sum_to_one_and_every_cause_means_something():
    spent = account(killed_once())
    assert sum(share(spent, cause) for cause in CAUSES) == pytest.approx(1.0)
    assert all(label(cause) and meaning(cause) for cause in CAUSES)


def test_a_folder_without_a_run_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="found no ledger that tells of a run's course"):
        answer(Asking(run=str(tmp_path)))


def test_the_answer_is_read_from_the_ledger(tmp_path):
    with Ledger(str(tmp_path), "worker-0", run="r", attempt=1) as ledger:
        ledger.write("attempt_started", process_started=1.0)
    assert "start-up" in answer(Asking(run=str(tmp_path)))
