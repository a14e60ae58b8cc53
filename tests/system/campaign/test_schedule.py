"""Windows of the week, over midnight and over the nights when clocks are changed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from system.campaign.schedule import Window
from system.campaign.schedule import is_open
from system.campaign.schedule import next_opening

PARIS = ZoneInfo("Europe/Paris")
WORK_NIGHTS = Window(days=("mon", "tue", "wed", "thu", "fri"), start="20:00", end="07:00")


def at(text, zone=PARIS):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-11-30T19:59", False),  # a Monday
        ("2026-11-30T20:00", True),
        ("2026-12-01T06:59", True),
        ("2026-12-01T07:00", False),
        ("2026-12-05T06:59", True),  # a Saturday: the night of Friday
        ("2026-12-05T20:00", False),
        ("2026-11-30T06:59", False),  # Sunday has no night
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(when, expected):
    assert is_open([WORK_NIGHTS], PARIS, at(when)) is expected


def test_without_windows_it_is_always_open():
    assert is_open([], PARIS, 0.0)
    assert next_opening([], PARIS, 0.0) is None


def test_a_whole_day_and_a_window_of_the_day():
    days = [Window(days=("sat", "sun")), Window(days=("mon",), start="09:00", end="12:00")]
    assert is_open(days, PARIS, at("2026-12-05T00:00"))
    assert is_open(days, PARIS, at("2026-12-06T23:59"))
    assert not is_open(days, PARIS, at("2026-12-07T00:00"))
    assert is_open(days, PARIS, at("2026-12-07T11:59"))
    assert not is_open(days, PARIS, at("2026-12-07T12:00"))


def test_it_is_what_clocks_on_the_wall_show():
    # In UTC the same night begins an hour later in winter.
    assert is_open([WORK_NIGHTS], PARIS, at("2026-07-06T18:00", ZoneInfo("UTC")))
    assert not is_open([WORK_NIGHTS], PARIS, at("2026-12-07T18:00", ZoneInfo("UTC")))
    assert is_open([WORK_NIGHTS], PARIS, at("2026-12-07T19:00", ZoneInfo("UTC")))
    # The last Friday of March has a night of eleven hours, of which one is left out.
    night = Window(days=("sat",), start="20:00", end="07:00")
    begin, end = at("2026-03-28T20:00"), at("2026-03-29T07:00")
    assert end - begin == 10 * 3600
    assert is_open([night], PARIS, end - 1)
    assert not is_open([night], PARIS, end)


def test_the_next_opening_is_known():
    assert next_opening([WORK_NIGHTS], PARIS, at("2026-12-05T07:00")) == at("2026-12-07T20:00")
    assert next_opening([WORK_NIGHTS], PARIS, at("2026-12-07T19:59")) == at("2026-12-07T20:00")
    assert next_opening([WORK_NIGHTS], PARIS, at("2026-12-07T21:00")) is None
    assert next_opening([Window(days=())], PARIS, 0.0) is None
