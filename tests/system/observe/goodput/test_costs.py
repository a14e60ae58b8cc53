"""Costs as a ledger tells them, and as somebody gives them."""

import pytest

from system.observe.goodput.costs import ASSUMED
from system.observe.goodput.costs import GivenCosts
from system.observe.goodput.costs import chosen
from system.observe.goodput.costs import measured
from system.observe.goodput.costs import restarts
from system.telemetry.goodput import account
from tests.system.telemetry.histories import event
from tests.system.telemetry.histories import killed_once


def with_upload():
    events = killed_once()
    events[6] = event("checkpoint", 123.5, images_seen=50, upload_s=0.5)
    return events


def test_what_a_ledger_tells():
    found = measured(with_upload())
    assert found == pytest.approx(
        {
            "launch_s": 18.0,
            "closing_s": 9.0,  # the last save and the evaluation after it
            "data_wait_share": 1.25 / (17.75 + 1.0 + 1.25),
            "stall_s": 1.0,
            "upload_s": 0.5,
            "start_up_s": 7.0,
            "detection_s": 6.0,
        }
    )


def test_a_restart_follows_on_a_loss():
    assert restarts(account(killed_once())) == [2]
    assert restarts(account(killed_once()[:9])) == []


def test_a_run_that_has_told_nothing_has_no_costs():
    assert measured([]) == {}
    assert chosen(GivenCosts(), []) == ASSUMED


def test_what_is_given_goes_before_what_is_measured_and_that_before_what_is_assumed():
    given = GivenCosts(stall_s=9.0)
    found = chosen(given, killed_once())
    assert (found.stall_s, found.upload_s, found.detection_s) == (9.0, ASSUMED.upload_s, 6.0)
