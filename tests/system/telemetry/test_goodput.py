"""The account of a run as numbers, at its end and while it goes on."""

import pytest

from system.telemetry.goodput import LiveAccount
from system.telemetry.goodput import RunningAccount
from system.telemetry.goodput import account
from system.telemetry.goodput import values
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.telemetry.metrics import unregistered
from tests.system.telemetry.histories import SPENT
from tests.system.telemetry.histories import killed_once


def test_the_parts_of_a_run():
    spent = account(killed_once())
    assert spent.wall_s == 61.0
    assert {cause: spent.seconds(cause) for cause in SPENT} == SPENT
    assert spent.attempts == [1, 2]
    assert spent.goodput == pytest.approx(17.75 / 61.0)
    assert sum(spent.parts_us().values()) == spent.wall_us


def test_time_without_a_driver_counts_and_is_told_apart():
    later = {"kind": "driver_started", "time": 300.0, "attempt": 0, "process_started": 261.0}
    spent = account([*killed_once(), later])
    assert spent.seconds("idle") == 100.0
    assert spent.goodput == pytest.approx(17.75 / 200.0)
    assert spent.goodput_while_driven == pytest.approx(17.75 / 100.0)


def test_a_run_that_has_told_nothing():
    spent = account([])
    assert (spent.wall_s, spent.goodput, spent.goodput_while_driven) == (0.0, 0.0, 0.0)
    assert spent.attempts == []


def test_its_numbers_are_of_the_registry_and_sum_to_the_wall_time():
    told = values(account(killed_once()))
    assert not unregistered(told)
    parts = [told[f"goodput/{cause}_s"] for cause in SPENT]
    assert sum(parts) == told["goodput/wall_s"] == 61.0


def test_while_a_run_goes_on_each_batch_of_news_with_a_report_comes_with_an_account():
    events = killed_once()
    live = LiveAccount(events[:4])
    assert live.with_news([]) == []
    news = live.with_news(events[4:8])
    assert news[1:] == events[4:8]
    assert news[0]["kind"] == "goodput"
    assert news[0]["images_seen"] == 70
    assert news[0]["values"] == values(account(events[:8]))
    assert live.with_news(events[8:10]) == events[8:10]
    assert live.with_news(events[10:])[0]["values"] == values(account(events))


def test_it_is_read_from_a_ledger_as_written(tmp_path):
    with Ledger(str(tmp_path), "worker-0", run="r", attempt=1) as ledger:
        ledger.write("attempt_started", process_started=None)
        ledger.write("first_update", images_seen=8, seconds=0.1, data_wait_s=0.0)
        ledger.write("report", images_seen=16, values={"throughput/update_s": 1.0})
    spent = account(read_ledger(str(tmp_path)))
    assert spent.wall_us == spent.parts_us()["start_up"] + spent.parts_us()["productive"] > 0


def test_taken_event_by_event_it_is_the_same_account_and_keeps_one_stretch_for_each_attempt():
    running = RunningAccount()
    for at, event in enumerate(killed_once()):
        running.take([event])
        so_far = account(killed_once()[: at + 1])
        assert running.so_far.parts_us() == so_far.parts_us()
        assert running.so_far.wall_us == so_far.wall_us
    assert [stretch.attempt for stretch in running.so_far.stretches] == [0, 1, 2]
    assert running.so_far.parts_us(1) == account(killed_once()).parts_us(1)
