"""When jobs may run: windows of a week in a time zone of their own, over midnight or not.

    is_open([Window(days=("mon",), start="20:00", end="07:00")], ZoneInfo("Europe/Paris"), now)

A window belongs to the day on which it opens. What counts is what clocks on the wall show, so on
the nights when they are changed a window is an hour longer or shorter.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from datetime import timedelta
from typing import Annotated
from typing import Literal
from typing import get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator
from pydantic import Field

from system.foundation.settings.record import Record

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
LOOK_AHEAD_DAYS = 8


def _time_of_day(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d|24:00", text):
        raise ValueError(f"{text!r} is no time of day; write 07:00 or 24:00")
    return text


TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]


class Window(Record):
    """A time of some days of the week; with an end before its start it goes over midnight."""

    days: tuple[Day, ...] = Field(DAYS, description="days on which it opens")
    start: TimeOfDay = Field("00:00", description="time of day, HH:MM")
    end: TimeOfDay = Field("24:00", description="time of day, HH:MM; not after start: next day's")


def is_open(windows: Sequence[Window], zone: ZoneInfo, now: float) -> bool:
    """Whether jobs may run at a Unix time. Without windows they always may."""
    at = datetime.fromtimestamp(now, zone)
    return not windows or any(_is_inside(each, at) for each in windows)


def next_opening(windows: Sequence[Window], zone: ZoneInfo, now: float) -> float | None:
    """The Unix time at which the next window opens; None where none does, or one is open."""
    if is_open(windows, zone, now):
        return None
    today = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    openings = [
        (today + timedelta(days=ahead, minutes=_minutes(each.start))).timestamp()
        for each in windows
        for ahead in range(LOOK_AHEAD_DAYS)
        if DAYS[(today.weekday() + ahead) % 7] in each.days
    ]
    return min((opening for opening in openings if opening > now), default=None)


def _is_inside(window: Window, at: datetime) -> bool:
    minute = at.hour * 60 + at.minute
    start, end = _minutes(window.start), _minutes(window.end)
    today, yesterday = DAYS[at.weekday()], DAYS[at.weekday() - 1]
    if start < end:
        return today in window.days and start <= minute < end
    in_the_evening = today in window.days and minute >= start
    return in_the_evening or (yesterday in window.days and minute < end)


def _minutes(time_of_day: str) -> int:
    hours, minutes = time_of_day.split(":")
    return 60 * int(hours) + int(minutes)
