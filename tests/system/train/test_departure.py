import time
from contextlib import suppress

import pytest

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import CheckpointStore
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.assemble import assemble
from system.train.departure import Departure
from system.train.departure import Notice
from system.train.departure import Standing
from system.train.departure import Unannounced
from system.train.departure import decide
from system.train.departure import updates_between_asks
from system.train.loop import train
from tests.gloo import run_workers
from tests.system.train.trials import Collector

GOES = Notice("preemption", heard=0.0, deadline=30.0)
UNKNOWN = Notice("preemption", heard=0.0)
RESIZE = Notice("resize", heard=0.0)
PAUSE = Notice("pause", heard=0.0)


def standing(now, *, unsaved=True, saved_since=False, update_s=1.0, save_s=4.0):
    return Standing(now, unsaved, saved_since, update_s, save_s)


@pytest.mark.parametrize(
    ("notice", "at", "decision"),
    [
        (None, standing(0.0), "train"),
        # A save of 4 s is begun 1.5 * 4 + 2 s before the end, if one more update would miss that.
        (GOES, standing(1.0), "train"),
        (GOES, standing(20.5), "train"),
        (GOES, standing(21.5), "save"),
        (GOES, standing(22.5), "save"),
        (GOES, standing(14.5, update_s=8.0), "save"),
        (GOES, standing(23.0, unsaved=False, saved_since=True), "wait"),
        # It saved long before: there is time for more, and for another save.
        (GOES, standing(10.0, unsaved=False, saved_since=True), "train"),
        (GOES, standing(10.0, unsaved=True, saved_since=True), "train"),
        (GOES, standing(23.0, unsaved=True, saved_since=True), "save"),
        # Too late for a save that takes as long as the last: it is tried all the same.
        (GOES, standing(29.0), "save"),
        (GOES, standing(31.0), "train"),
        # Nobody knows what a save takes: one at once, which tells.
        (GOES, standing(1.0, save_s=None), "save"),
        (GOES, standing(1.0, save_s=None, unsaved=False), "train"),
        # Nobody knows when: one at once, and one before Ray begins anew after two minutes.
        (UNKNOWN, standing(1.0), "save"),
        (UNKNOWN, standing(60.0, saved_since=True), "train"),
        (UNKNOWN, standing(112.0, saved_since=True), "save"),
        (UNKNOWN, standing(113.0, saved_since=True, unsaved=False), "wait"),
        (RESIZE, standing(0.0), "save"),
        (RESIZE, standing(0.0, unsaved=False), "wait"),
        (PAUSE, standing(0.0), "leave"),
        (PAUSE, standing(0.0, unsaved=False), "leave"),
    ],
)
def test_the_rule(notice, at, decision):
    assert decide(notice, at) == decision


@pytest.mark.parametrize(
    ("ask_s", "update_s", "updates"),
    [
        (0.010, 2.5, 1),
        (0.010, 1.0, 2),  # 10 ms of 2 s is half a percent
        (0.010, 0.1, 20),
        (0.100, 1.0, 5),  # a slow answer costs more, but a notice of 30 s must be heard
        (0.0, 0.1, 1),
        (0.010, 0.0, 2_000_000),
        (0.010, 60.0, 1),
    ],
)
def test_asking_takes_half_a_percent_of_the_time(ask_s, update_s, updates):
    assert updates_between_asks(ask_s, update_s) == updates


class Gone(Exception):
    """What stands for Ray's end of a worker's process."""


class Told(Unannounced):
    """Announces something as soon as a run has come so far; ends it where it makes way."""

    def __init__(self, collector, at, notice):
        self._collector, self._at, self._notice = collector, at, notice
        self.settled = []

    def _seen(self):
        return self._collector.state.progress.images_seen

    def preemption(self):
        is_told = self._notice.cause == "preemption" and self._seen() >= self._at
        return self._notice if is_told else None

    def resize(self):
        return self._notice.cause == "resize" and self._seen() >= self._at

    def pause(self):
        return self._notice.cause == "pause" and self._seen() >= self._at

    def upload_s(self):
        return 0.01

    def settle(self):
        self.settled.append(self._seen())

    def make_way(self):
        raise Gone


def lives(world, recipe, at, notice, scratch):
    """A run that hears something and is ended; where it saved, was settled, and went on to."""
    url = f"{recipe.run.root}/{recipe.run.name}"
    state = assemble(recipe, world, read_manifest(recipe.data.shards))
    collector = Collector(state, CheckpointStore(f"{url}/checkpoints"))
    told = Told(collector, at, notice)
    folder = scratch / str(world.rank)
    folder.mkdir()
    with Ledger(url, f"worker-{world.rank}", run="tiny") as ledger, suppress(Gone):
        train(state, collector.store, collector, ledger, scratch=folder, announcements=told)
    state.close()
    return list(collector.evaluated), told.settled, state.progress.images_seen


def test_before_a_resize_it_saves_and_trains_no_more(recipe, tmp_path):
    made = recipe(evaluation={"kind": "digits", "every_images": 8})
    saved, settled, seen = lives(World(), made, 40, Notice("resize", 0.0), tmp_path)
    assert saved[:1] == [32]
    assert saved[1:] == settled == [seen]
    assert 40 <= seen < 64
    events = [e for e in read_ledger(f"{made.run.root}/tiny") if "cause" in e]
    assert [(e["kind"], e["cause"]) for e in events] == [
        ("notice", "resize"),
        ("standing_by", "resize"),
    ]


def test_before_a_pause_it_saves_and_ends_by_itself(recipe, tmp_path):
    made = recipe(evaluation={"kind": "digits", "every_images": 8})
    saved, settled, seen = lives(World(), made, 40, Notice("pause", 0.0), tmp_path)
    assert saved == [32, seen]
    assert settled == []  # nobody ends it: there is nothing to wait for
    assert 40 <= seen < 64


def test_all_workers_heed_what_one_is_told(recipe, tmp_path):
    made = recipe(cluster={"device": "cpu", "workers": 2})
    # An end far enough for the updates that are left, near enough for a save at once.
    notice = Notice("preemption", time.time(), time.time() + 600.0)
    first, second = run_workers(lives, 2, tmp_path, made, 8, notice, tmp_path)
    assert first == second == ([32, 64], [32], 64)


def test_what_it_measures_decides_how_often_it_asks(tmp_path):
    class Counted(Unannounced):
        asked = 0

        def preemption(self):
            self.asked += 1
            time.sleep(0.004)

    counted = Counted()
    with Ledger(str(tmp_path), "worker-0", run="r") as ledger:
        departure = Departure(World(), ledger, counted)
        for update in range(60):
            departure.wait(update)
            time.sleep(0.01)
            assert departure.decide(update) == "train"
    # 4 ms are half a percent of 0.8 s: of 80 updates of 10 ms.
    assert 1 < counted.asked < 15
