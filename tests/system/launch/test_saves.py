"""Saves in threads of their own, to stores that fail, with real snapshots of a few numbers."""

import errno
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import flaw
from system.engine.snapshot import HostMemory
from system.engine.snapshot import Snapshot as EngineSnapshot
from system.foundation.errors import StorageError
from system.foundation.world import World
from system.launch import saves as module
from system.launch.saves import Saves
from system.launch.saves import is_full
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.snapshot import Snapshot


def taken() -> Snapshot:
    """A state of one weight."""
    memory, weight = HostMemory(torch.device("cpu")), torch.arange(3.0)
    held = EngineSnapshot({"state/share.pt": {"weight": weight}}, {}, [{"w": weight}], memory, [])
    return Snapshot(held, None, (0.9,), lambda: {"images_seen": 8})


@pytest.fixture
def uploads() -> list[float]:
    return []


@pytest.fixture
def saves(tmp_path: Path, uploads: list[float], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    store = CheckpointStore(str(tmp_path / "run/checkpoints"))
    with Ledger(str(tmp_path / "run"), "worker-0", run="r", attempt=1) as ledger:
        yield Saves(store, World(), ledger, 1, on_upload=uploads.append)


def events(tmp_path: Path, kind: str) -> list[dict]:
    return [event for event in read_ledger(str(tmp_path / "run")) if event["kind"] == kind]


def test_a_save_is_committed_in_its_thread_and_told_of(saves, tmp_path, uploads) -> None:
    saves.settle()
    thread = threading.Thread(target=saves.begin(taken(), tmp_path / "local", 8))
    thread.start()
    saves.settle()
    thread.join()
    (found,) = CheckpointStore(str(tmp_path / "run/checkpoints")).all()
    assert (found.images_seen, flaw(found.url)) == (8, None)
    assert load_file(Path(found.url) / "averaged.safetensors")["w"].tolist() == [0, 1, 2]
    assert (Path(found.url) / "engine/state/share.pt").is_file()
    assert not (tmp_path / "local").exists()
    (told,) = events(tmp_path, "checkpoint")
    assert 0 < told["write_s"] <= told["upload_s"] == uploads[0]
    assert events(tmp_path, "save_failed") == []


def test_the_next_one_waits_until_it_is_on_its_way_no_more(saves, tmp_path) -> None:
    save = saves.begin(taken(), tmp_path / "local", 8)
    waiting = threading.Thread(target=saves.settle)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    save()
    waiting.join()


def test_one_that_waits_may_have_had_enough(saves, tmp_path) -> None:
    save = saves.begin(taken(), tmp_path / "local", 8)
    saves.settle(0.01)
    save()
    saves.settle(60)


def test_a_folder_that_is_gone_is_given_up_at_once_and_nothing_committed(saves, tmp_path) -> None:
    place = tmp_path / "run/checkpoints"
    place.parent.mkdir(exist_ok=True)
    place.write_text("in the way")

    def said() -> dict:  # the last thing that is written
        threading.Thread(target=remove_when_written, args=(tmp_path / "local",)).start()
        return {"images_seen": 8}

    held = taken()
    save = saves.begin(Snapshot(held.engine, None, held.decays, said), tmp_path / "local", 8)
    with pytest.raises((OSError, StorageError)):
        save()
    place.unlink(missing_ok=True)
    assert CheckpointStore(str(place)).all() == []


def remove_when_written(folder: Path) -> None:
    while not (folder / "state.json").exists():
        time.sleep(0.001)
    shutil.rmtree(folder)


def test_a_store_that_fails_for_a_while_is_asked_again(saves, tmp_path) -> None:
    place = tmp_path / "run/checkpoints"
    place.parent.mkdir(exist_ok=True)
    place.write_text("in the way")
    thread = threading.Thread(target=saves.begin(taken(), tmp_path / "local", 8))
    thread.start()
    while len(events(tmp_path, "save_failed")) < 2:
        time.sleep(0.01)
    place.unlink()
    thread.join()
    (found,) = CheckpointStore(str(place)).all()
    assert flaw(found.url) is None
    assert {e["rank"] for e in events(tmp_path, "save_failed")} == {0}


def test_one_that_is_given_up_is_no_checkpoint_and_holds_nobody_up(
    saves, tmp_path, uploads, monkeypatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    place = tmp_path / "run/checkpoints/000000000008-1"
    place.mkdir(parents=True)
    (place / "engine").write_text("in the way")
    with pytest.raises((OSError, StorageError)):
        saves.begin(taken(), tmp_path / "local", 8)()
    saves.settle()
    assert "not committed" in flaw(str(place))
    assert len(events(tmp_path, "save_failed")) == 1
    assert events(tmp_path, "checkpoint") == uploads == []


def test_a_state_is_written_once(saves, tmp_path) -> None:
    save = saves.begin(taken(), tmp_path / "local", 8)
    save()
    with pytest.raises(RuntimeError, match="written already"):
        save()
    (found,) = CheckpointStore(str(tmp_path / "run/checkpoints")).all()
    assert flaw(found.url) is None


def test_a_full_disk_is_known_by_its_number() -> None:
    full = StorageError("no space is left")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_full(full)
    assert not is_full(StorageError("the store is down"))
    assert not is_full(None)
