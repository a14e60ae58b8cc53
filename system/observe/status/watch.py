"""The runs and campaigns under a root, looked at again and again: what the page is made of.

    watch = Watch("runs")
    watch.look()
    watch.changes.since(None)    # rows of runs and campaigns, and words on what is wrong

`keep_looking` does it in a thread of its own, so that a browser never waits for a ledger. Only runs
that somebody has opened are read whole; of all others no more is kept than their row.
"""

import logging
import threading
import time
from collections import OrderedDict

from system.foundation import storage
from system.foundation.errors import TrainingSystemError
from system.observe.fleet import Fleet
from system.observe.leaderboard import read_leaderboards
from system.observe.status.changes import Changes
from system.observe.status.chart_data import MOST_POINTS
from system.observe.status.rows import board_content
from system.observe.status.rows import run_row
from system.observe.status.watched_run import WatchedRun

RUN, CAMPAIGN = "run:", "campaign:"
MOST_WATCHED = 16  # runs that are kept whole in memory

log = logging.getLogger(__name__)


class Watch:
    """Safe to use from several threads; nothing here raises for what lies under the root."""

    def __init__(self, root: str, *, refresh_s: float = 2.0) -> None:
        self.root = storage.absolute(root)
        self.changes = Changes()
        self._refresh_s = refresh_s
        self._fleet = Fleet(self.root)
        self._urls: dict[str, str] = {}
        self._watched: OrderedDict[str, tuple[WatchedRun, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._is_read = False
        self._tell(["Reading the ledgers for the first time …"])

    def look(self) -> None:
        """Read what is new under the root."""
        words: list[str] = []
        keys: list[str] | None = []
        try:
            keys = self._look_at_runs(words) + self._look_at_campaigns()
        except (TrainingSystemError, OSError) as problem:
            words, keys = [f"The root cannot be read now: {problem}"], None
        except Exception as problem:  # the rim: the page says it, and looks again
            log.exception("looking at %s", self.root)
            words, keys = [f"Left out: {type(problem).__name__}: {problem}"], None
        if keys is not None:
            self.changes.keep_only([*keys, "root"])
        self._is_read = True
        self._tell(words)

    def run(self, name: str, *, most_points: int = MOST_POINTS) -> WatchedRun | None:
        """A run, read anew unless that was a moment ago; None where there is none of this name."""
        url = self._urls.get(name)
        if url is None:
            return None
        with self._lock:
            found = self._watched.pop(name, None)
            watched, looked = found or (WatchedRun(url, most_points=most_points), float("-inf"))
            is_due = time.monotonic() - looked > self._refresh_s / 2
            self._watched[name] = watched, time.monotonic() if is_due else looked
            while len(self._watched) > MOST_WATCHED:
                self._watched.popitem(last=False)
        if is_due:
            watched.look()
        return watched

    def keep_looking(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            self.look()
            stop.wait(self._refresh_s)

    def _look_at_runs(self, words: list[str]) -> list[str]:
        names: list[str] = []
        for view in self._fleet.each():
            self._urls[view.name] = view.url
            self.changes.put(RUN + view.name, run_row(view))
            names.append(view.name)
            if not self._is_read:
                self._tell([f"Reading the ledgers for the first time: {len(names)} runs so far …"])
        self._urls = {name: self._urls[name] for name in names}
        if not names:
            there = "has no runs yet" if storage.exists(self.root) else "is not there (yet)"
            words.append(f"{self.root} {there}: a run appears here when it writes its ledger.")
        return [RUN + name for name in names]

    def _look_at_campaigns(self) -> list[str]:
        boards = read_leaderboards(self.root)
        for board in boards:
            self.changes.put(CAMPAIGN + board.campaign, board_content(board))
        return [CAMPAIGN + board.campaign for board in boards]

    def _tell(self, words: list[str]) -> None:
        content = {"root": self.root, "words": words, "read": self._is_read}
        self.changes.put("root", content)
