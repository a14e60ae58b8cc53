"""All runs under a root as they stand, read from their ledgers again and again at little cost.

    for run in read_fleet("s3://bucket/runs"):
        print(run.name, run.state, run.images_seen, run.newest("evaluation/gfid"))

What shows many runs (status page, exporter) stands on this. A second read of the same root lists
folders and reads what was appended since; a run that cannot be read says so in its view and hides
none of the others.
"""

import json
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from system.foundation import storage
from system.foundation.errors import StorageError
from system.foundation.yaml_tree import Section
from system.foundation.yaml_tree import YamlProblem
from system.foundation.yaml_tree import parse
from system.observe.run_view import RunView
from system.observe.run_view import Story
from system.telemetry import ledger

RECIPE, PROVENANCE = "recipe.yaml", "provenance.json"
# Folders beside the runs that are none, and so are not asked for a ledger.
NO_RUNS = frozenset({"campaigns", "detectors"})
# The recipe is written between these two events of a start.
_STARTS = ("driver_started", "attempt_started")


class Fleet:
    """The runs under a root. Safe to use from several threads."""

    def __init__(self, root: str, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}

    def read(self) -> list[RunView]:
        """Every run in order of names. Raises StorageError where the root cannot be listed."""
        return list(self.each())

    def each(self) -> Iterator[RunView]:
        """The same one by one, for who shows the first before the last is read."""
        with self._lock:
            names = [name for name in storage.list_names(self._root) if name not in NO_RUNS]
            for gone in self._runs.keys() - set(names):
                del self._runs[gone]
        for name in names:
            with self._lock:
                view = self._read(name)
            if view is not None:
                yield view

    def _read(self, name: str) -> RunView | None:
        run = self._runs.get(name)
        if run is None:
            run = self._runs[name] = _Run(storage.join(self._root, name))
        return run.read(self._clock())


@cache
def fleet_of(root: str) -> Fleet:
    """The one fleet of a root in this process, which remembers what it has read."""
    return Fleet(root)


def read_fleet(root: str) -> list[RunView]:
    """Every run under a root, at any fsspec url, in order of names.

    Raises StorageError where the root cannot be listed.
    """
    return fleet_of(storage.absolute(root)).read()


class _Run:
    def __init__(self, url: str) -> None:
        self._url = url
        self._follower = ledger.Follower(url)
        self._story = Story(url)
        self._is_run = False
        self._knows_recipe = False

    def read(self, now: float) -> RunView | None:
        """The run as it stands; None where the folder holds none."""
        problem = None
        try:
            news = self._follower.poll()
            self._is_run = self._is_run or bool(news)
            if self._is_run and (
                not self._knows_recipe or any(event["kind"] in _STARTS for event in news)
            ):
                self._read_recipe()
            self._story.take(news)
        except (StorageError, OSError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        if not self._is_run:
            return None
        view = self._story.view(now)
        return view if problem is None else replace(view, problem=problem)

    def _read_recipe(self) -> None:
        """How far the run shall go, and which recipe it is; what is not there is asked for again
        when the run starts again."""
        self._knows_recipe = True
        self._story.total_images = _total_images(self._url)
        self._story.recipe_digest = _recipe_digest(self._url)


def _total_images(url: str) -> int | None:
    try:
        tree = parse(storage.read_text(storage.join(url, RECIPE)), RECIPE)
    except (FileNotFoundError, YamlProblem):
        return None
    leaves = dict(tree.leaves()) if isinstance(tree, Section) else {}
    found = leaves.get("run.total_images")
    return found.value if found is not None and isinstance(found.value, int) else None


def _recipe_digest(url: str) -> str | None:
    try:
        starts = json.loads(storage.read_text(storage.join(url, PROVENANCE)))["starts"]
        return str(starts[-1]["recipe_digest"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError):
        return None
