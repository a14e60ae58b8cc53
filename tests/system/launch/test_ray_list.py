"""Ray's list of checkpoints on a store that fails, by Ray's own writer of it."""

import json
import shutil
from pathlib import Path

import pytest
import ray.train
from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager
from ray.train.v2._internal.execution.storage import StorageContext

from system.launch.ray_list import WRITE
from system.launch.ray_list import ListForgiven
from system.launch.ray_list import forgiven


@pytest.fixture
def manager(tmp_path: Path) -> CheckpointManager:
    context = StorageContext(storage_path=str(tmp_path), experiment_dir_name="checkpoints")
    return CheckpointManager(
        checkpoint_config=ray.train.CheckpointConfig(), storage_context=context
    )


@pytest.fixture
def place(manager: CheckpointManager) -> Path:
    return Path(manager._storage_context.checkpoint_manager_snapshot_path)


def test_a_store_that_fails_ends_nothing_and_the_next_write_mends_it(manager, place) -> None:
    write = forgiven(getattr(CheckpointManager, WRITE))
    shutil.rmtree(place.parent, ignore_errors=True)
    with pytest.raises(OSError, match="checkpoint_manager_snapshot"):
        getattr(CheckpointManager, WRITE)(manager)
    write(manager)
    assert not place.exists()
    place.parent.mkdir()
    write(manager)
    assert json.loads(place.read_text())["ray_version"] == ray.__version__


def test_a_full_disk_ends_nothing_here(manager, place, caplog) -> None:
    place.parent.mkdir(exist_ok=True)
    place.symlink_to("/dev/full")
    forgiven(getattr(CheckpointManager, WRITE))(manager)
    assert "No space left" in caplog.text


def test_the_writer_is_wrapped_once(monkeypatch) -> None:
    before = getattr(CheckpointManager, WRITE)
    monkeypatch.setattr(CheckpointManager, WRITE, before)  # as it was, afterwards
    ListForgiven().after_controller_start(None)
    ListForgiven().after_controller_start(None)
    assert getattr(CheckpointManager, WRITE).__wrapped__ is before
