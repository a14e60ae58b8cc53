import time

import pytest

from system.train.guards.pulse import Pulse


def test_a_pulse_says_what_the_loop_is_at() -> None:
    pulse, seen = Pulse(), []

    def stream():
        while True:
            seen.append(pulse.read().stage)
            yield len(seen)

    taking = pulse.taking(stream())
    for expected in ("start", "data", "data"):
        next(taking)
        assert seen[-1] == expected
        pulse.beat()
        assert pulse.read().stage == "update"
    with pulse.saving():
        assert pulse.read().stage == "save"
    assert pulse.read().stage == "update"


def test_the_first_update_belongs_to_the_start() -> None:
    pulse = Pulse()
    began = pulse.read().since
    pulse.at("data")
    pulse.at("update")
    assert pulse.read().stage == "start"
    assert pulse.read().since == began
    with pulse.saving():
        pass
    assert pulse.read().stage == "start", "a save before any update"
    pulse.beat()
    assert pulse.read().typical_s is None


def test_waiting_for_data_does_not_begin_the_update_anew() -> None:
    pulse = Pulse()
    pulse.beat()
    since = pulse.read().since
    pulse.at("data")
    pulse.at("update")
    assert pulse.read().since == since
    time.sleep(0.01)
    pulse.beat()
    assert pulse.read().since > since
    assert pulse.read().typical_s >= 0.01


def test_a_save_is_no_part_of_an_update_also_where_it_fails() -> None:
    pulse = Pulse()
    pulse.beat()
    with pytest.raises(OSError, match="full"), pulse.saving():
        raise OSError("full")
    assert pulse.read().stage == "update"
