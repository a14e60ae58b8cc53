"""One run that somebody looks at: read again and again, only what is new, into what has changed.

Nothing here raises for what a run's folder holds. What is missing, torn or odd is left out of the
page and said on it.
"""

import logging
import math
import threading
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from system.foundation import storage
from system.foundation.errors import StorageError
from system.foundation.errors import TrainingSystemError
from system.observe.goodput.table import label
from system.observe.goodput.table import meaning
from system.observe.report.folder import Number
from system.observe.report.folder import RunFolder
from system.observe.report.folder import read_file
from system.observe.report.folder import read_numbers
from system.observe.report.folder import read_starts
from system.observe.report.happened import MOST_ROWS
from system.observe.report.happened import TROUBLE
from system.observe.report.happened import told
from system.observe.report.numbers import newest_tiles
from system.observe.status.changes import Changes
from system.observe.status.chart_data import MOST_POINTS
from system.observe.status.chart_data import chart_contents
from system.observe.status.commands import commands
from system.observe.status.recipe_table import recipe_rows
from system.observe.status.strips import Strips
from system.telemetry.attribution import CAUSES
from system.telemetry.attribution import MICRO
from system.telemetry.goodput import account
from system.telemetry.ledger import Event
from system.telemetry.ledger import Follower

CHART = "chart:"
_OF_STARTS = ("driver_started", "attempt_started")

log = logging.getLogger(__name__)


class WatchedRun:
    """A run's folder as sections of a page, each with the change that made it what it is."""

    def __init__(self, url: str, *, most_points: int = MOST_POINTS) -> None:
        self.url = url
        self.changes = Changes()
        self.strips = Strips(url)
        self._most = most_points
        self._follower = Follower(url)
        self._events: list[Event] = []
        self._odd = 0
        self._numbers: list[Number] = []
        self._eval_sizes: dict[str, int] | None = None
        self._eval_faults: list[str] = []
        self._recipe: str | None = None
        self._starts: list[dict[str, Any]] = []
        self._start_faults: list[str] | None = None
        self._lock = threading.Lock()

    def look(self) -> None:
        """Read what is new. A store that is away leaves all as it was, and is a fault."""
        with self._lock:
            faults: list[str] = []
            try:
                news = self._read()
            except (OSError, StorageError) as problem:
                news, faults = False, [f"cannot be read now: {problem}"]
            if news:
                self._tell(faults)
            self._section("strip", self.strips.columns, faults)
            self.changes.put("faults", self._all_faults(faults))

    def _read(self) -> bool:
        """Whether anything is new."""
        news = self._follower.poll()
        kept = [each for event in news if (each := _sound(event)) is not None]
        self._odd += len(news) - len(kept)
        self._events += kept
        has_started = any(event["kind"] in _OF_STARTS for event in kept)
        if self._start_faults is None or has_started:
            self._read_start()
        sizes = storage.list_sizes(storage.join(self.url, "eval"))
        has_numbers = sizes != self._eval_sizes
        if has_numbers:
            self._eval_faults = []
            self._numbers = read_numbers(self.url, self._eval_faults)
            self._eval_sizes = sizes
        return bool(news) or has_numbers

    def _read_start(self) -> None:
        self._start_faults = []
        self._recipe = read_file(self.url, "recipe.yaml", self._start_faults)
        provenance = read_file(self.url, "provenance.json", self._start_faults)
        self._starts = read_starts(provenance, self._start_faults)

    def _tell(self, faults: list[str]) -> None:
        run = RunFolder(
            self.url, self._events, self._numbers, {}, {}, self._recipe, self._starts, ()
        )
        self._section("numbers", lambda: [asdict(each) for each in newest_tiles(run)], faults)
        self._section("time", lambda: _time_spent(self._events), faults)
        self._section("happened", lambda: _happened(run), faults)
        self._section("recipe", lambda: recipe_rows(self._recipe, self._starts), faults)
        self._section("starts", lambda: [_start(each) for each in self._starts], faults)
        self._section("commands", lambda: commands(self.url, self._starts, self._events), faults)
        charts = self._section(None, lambda: chart_contents(run, most=self._most), faults) or {}
        for title, content in charts.items():
            self.changes.put(CHART + title, content)

    def _section(
        self, name: str | None, content: Callable[[], Any], faults: list[str]
    ) -> Any | None:
        """Keep a section's content under its name, and return it; what it raises is a fault."""
        try:
            made = content()
        except (TrainingSystemError, OSError) as problem:
            faults.append(f"{name or 'charts'}: {problem}")
            return None
        except Exception as problem:  # the rim: other code's runs may hold what nobody foresaw
            log.exception("the section %s of %s", name, self.url)
            faults.append(f"{name or 'charts'}: left out ({type(problem).__name__}: {problem})")
            return None
        if name is not None:
            self.changes.put(name, made)
        return made

    def _all_faults(self, faults: Iterable[str]) -> list[str]:
        torn = self._follower.torn_lines
        found = [f"ledger: passed over {torn} line{'s' * (torn != 1)} that are none"] * (torn > 0)
        if self._odd:
            found.append(f"ledger: left out {self._odd} events without what their kind has")
        return [*found, *(self._start_faults or []), *self._eval_faults, *faults]


def _sound(event: Event) -> Event | None:
    """An event as the charts can take it; None where its kind's fields are not there."""
    if event["kind"] not in ("report", "evaluation"):
        return event
    values, seen = event.get("values"), event.get("images_seen")
    if not isinstance(values, dict) or not isinstance(seen, int):
        return None
    finite = {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    return {**event, "values": finite}


def _time_spent(events: list[Event]) -> dict[str, Any]:
    spent = account(events)
    parts, wall = spent.parts_us(), max(1, spent.wall_us)
    return {
        "wall_s": round(spent.wall_s, 1),
        "goodput": parts["productive"] / wall,
        "attempts": len(spent.attempts),
        "causes": [
            {
                "cause": cause,
                "label": label(cause),
                "meaning": meaning(cause),
                "seconds": round(parts[cause] / MICRO, 1),
                "share": parts[cause] / wall,
            }
            for cause in CAUSES
            if parts[cause]
        ],
    }


def _happened(run: RunFolder) -> dict[str, Any]:
    """The newest trouble first, and how many there were."""
    events = run.happened(*TROUBLE)
    return {
        "count": len(events),
        "rows": [asdict(told(event)) for event in reversed(events[-MOST_ROWS:])],
    }


def _start(start: dict[str, Any]) -> dict[str, str]:
    versions = start.get("versions")
    named = versions if isinstance(versions, dict) else {}
    arguments = start.get("arguments")
    return {
        "time": str(start.get("time", "")),
        "command": " ".join(map(str, arguments)) if isinstance(arguments, list) else "",
        "commit": str(start.get("commit") or "not known"),
        "digest": str(start.get("recipe_digest", "")),
        "host": str(start.get("host", "")),
        "versions": ", ".join(f"{name} {version}" for name, version in named.items()),
    }
