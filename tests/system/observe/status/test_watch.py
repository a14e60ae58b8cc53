import shutil
import threading
from pathlib import Path

import pytest

from system.observe.leaderboard import Leaderboard
from system.observe.leaderboard import write
from system.observe.status.watch import MOST_WATCHED
from system.observe.status.watch import Watch
from system.telemetry.ledger import Ledger


def start(root: Path, name: str) -> None:
    with Ledger(str(root / name), "driver", run=name, attempt=1) as ledger:
        ledger.write("attempt_started", workers=1)


def looked(watch: Watch) -> dict:
    watch.look()
    return watch.changes.since(None)["changed"]


def test_runs_come_and_go(tmp_path):
    watch = Watch(str(tmp_path))
    assert watch.changes.since(None)["changed"]["root"]["read"] is False
    start(tmp_path, "one")
    assert looked(watch).keys() == {"run:one", "root"}
    mark = watch.changes.since(None)["mark"]
    start(tmp_path, "two")
    watch.look()
    assert list(watch.changes.since(mark)["changed"]) == ["run:two"]
    shutil.rmtree(tmp_path / "one")
    watch.look()
    assert watch.changes.since(mark)["gone"] == ["run:one"]
    assert watch.run("one") is None


def test_an_empty_root_and_one_that_is_not_there_are_words(tmp_path):
    (words,) = looked(Watch(str(tmp_path)))["root"]["words"]
    assert "has no runs yet" in words
    (words,) = looked(Watch(str(tmp_path / "nothing")))["root"]["words"]
    assert "is not there (yet)" in words


def test_a_root_that_cannot_be_read_is_words():
    watch = Watch("nowhere://bucket/runs")
    found = looked(watch)
    (words,) = found["root"]["words"]
    assert "cannot be read now" in words
    assert found["root"]["read"] is True


def test_a_damaged_leaderboard_hides_no_other(tmp_path):
    board = Leaderboard(
        campaign="good", objective="evaluation/gfid", direction="min", state="running", trials=(),
        gpu_hours_spent=0, gpu_hours_limit=None, cost_spent=0, cost_limit=None, rungs=(1,),
        updated=1.0,
    )  # fmt: skip
    write(str(tmp_path), board)
    (tmp_path / "campaigns" / "bad").mkdir()
    (tmp_path / "campaigns" / "bad" / "leaderboard.json").write_text("{")
    assert {key for key in looked(Watch(str(tmp_path))) if key != "root"} == {"campaign:good"}


@pytest.mark.parametrize("name", ["../secrets", "..", "", "/etc", "a/../b", "none"])
def test_only_runs_that_were_found_can_be_asked_for(tmp_path, name):
    start(tmp_path / "runs", "a")
    start(tmp_path, "secrets")
    watch = Watch(str(tmp_path / "runs"))
    watch.look()
    assert watch.run(name) is None
    assert watch.run("a") is not None


def test_a_run_is_read_anew_when_it_is_due_and_not_every_time(tmp_path):
    start(tmp_path, "a")
    watch = Watch(str(tmp_path), refresh_s=3600)
    watch.look()
    mark = watch.run("a").changes.since(None)["mark"]
    with Ledger(str(tmp_path / "a"), "worker-0", run="a", attempt=1) as ledger:
        ledger.write("report", images_seen=5, values={"loss/total": 1.0})
    assert watch.run("a").changes.since(mark)["changed"] == {}
    watch = Watch(str(tmp_path), refresh_s=1e-9)
    watch.look()
    assert "chart:objective" in watch.run("a").changes.since(None)["changed"]


def test_no_more_runs_than_allowed_are_kept_whole(tmp_path):
    for number in range(MOST_WATCHED + 3):
        start(tmp_path, f"r{number:02d}")
    watch = Watch(str(tmp_path), refresh_s=3600)
    watch.look()
    first = watch.run("r00")
    assert watch.run("r00") is first
    for number in range(1, MOST_WATCHED + 3):
        watch.run(f"r{number:02d}")
    assert watch.run("r00") is not first


def test_it_looks_until_told_to_stop(tmp_path):
    start(tmp_path, "a")
    watch, stop = Watch(str(tmp_path), refresh_s=0.01), threading.Event()
    thread = threading.Thread(target=watch.keep_looking, args=(stop,))
    thread.start()
    start(tmp_path, "b")
    while "run:b" not in watch.changes.since(None)["changed"]:
        stop.wait(0.01)
    stop.set()
    thread.join(timeout=60)
    assert not thread.is_alive()
