"""All runs under a root, at once and again as they grow."""

from pathlib import Path

import pytest

from system.foundation import storage
from system.foundation.errors import StorageError
from system.observe.fleet import Fleet
from system.observe.fleet import read_fleet
from system.telemetry.ledger import Ledger


def write(root: Path, name: str, seen: int) -> None:
    with Ledger(str(root / name), "worker-0", run=name, attempt=1) as ledger:
        ledger.write("attempt_started", workers=1)
        ledger.write("report", images_seen=seen, values={"loss/total": 1.0 / seen})


def test_runs_come_by_name_with_what_their_folders_say(tmp_path):
    write(tmp_path, "b", 10)
    write(tmp_path, "a", 20)
    (tmp_path / "a" / "recipe.yaml").write_text("run:\n  total_images: 400\n")
    (tmp_path / "a" / "provenance.json").write_text('{"starts": [{"recipe_digest": "abc"}]}')
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("no run")
    first, second = read_fleet(str(tmp_path))
    assert (first.name, first.images_seen, first.total_images) == ("a", 20, 400)
    assert first.recipe_digest == "abc"
    assert (second.name, second.total_images, second.recipe_digest) == ("b", None, None)


def test_a_second_look_reads_only_what_was_appended(tmp_path, monkeypatch):
    write(tmp_path, "a", 10)
    fleet, read = Fleet(str(tmp_path)), 0
    real = storage.read_range

    def counted(url: str, start: int, length: int) -> bytes:
        nonlocal read
        read += length
        return real(url, start, length)

    monkeypatch.setattr(storage, "read_range", counted)
    assert [run.images_seen for run in fleet.read()] == [10]
    size = (tmp_path / "a" / "ledger" / "worker-0.jsonl").stat().st_size
    assert read == size
    fleet.read()
    assert read == size
    write(tmp_path, "a", 20)
    assert [run.images_seen for run in fleet.read()] == [20]
    assert read == (tmp_path / "a" / "ledger" / "worker-0.jsonl").stat().st_size


def test_runs_may_appear_and_go(tmp_path):
    fleet = Fleet(str(tmp_path))
    assert fleet.read() == []
    write(tmp_path, "a", 1)
    assert [run.name for run in fleet.read()] == ["a"]
    storage.remove(str(tmp_path / "a"))
    assert fleet.read() == []


def test_a_run_that_cannot_be_read_keeps_what_was_known_and_hides_no_other(tmp_path, monkeypatch):
    write(tmp_path, "a", 1)
    write(tmp_path, "b", 2)
    fleet, real = Fleet(str(tmp_path)), storage.list_sizes
    fleet.read()

    def fails(url: str) -> dict[str, int]:
        if "/a/" in url:
            raise StorageError("away")
        return real(url)

    monkeypatch.setattr(storage, "list_sizes", fails)
    broken, sound = fleet.read()
    assert (broken.images_seen, broken.problem) == (1, "StorageError: away")
    assert (sound.images_seen, sound.problem) == (2, None)


def test_torn_and_foreign_files_are_passed_over(tmp_path):
    write(tmp_path, "a", 1)
    (tmp_path / "a" / "ledger" / "other.jsonl").write_text('not json\n[1]\n{"time": 1}\n{"ti')
    (tmp_path / "a" / "recipe.yaml").write_text("run: [")
    (tmp_path / "a" / "provenance.json").write_text("{")
    (run,) = read_fleet(str(tmp_path))
    assert (run.images_seen, run.total_images, run.problem) == (1, None, None)


def test_a_root_that_is_away_is_an_error(monkeypatch, tmp_path):
    def away(url: str) -> list[str]:
        raise StorageError("away")

    monkeypatch.setattr(storage, "list_names", away)
    with pytest.raises(StorageError):
        Fleet(str(tmp_path)).read()
