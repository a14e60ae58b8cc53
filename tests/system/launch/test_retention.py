"""What the driver removes as a ledger grows, and what Ray's list lacks after it."""

from pathlib import Path

import pytest
from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import _CheckpointManagerState

from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import upload
from system.foundation.config import resolve
from system.launch.command import ROOT
from system.launch.retention import Keeper
from system.launch.retention import retention
from system.launch.retention import without_gone

NAMES = [f"{images:012d}-1" for images in (10, 20, 30)]


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    made = CheckpointStore(str(tmp_path / "run/checkpoints"))
    for images in (10, 20, 30):
        local = tmp_path / str(images)
        local.mkdir()
        (local / "state.json").write_text("{}")
        upload(local, made.place(images, 1).url, 0, 1)
    return made


def seen(store: CheckpointStore) -> list[int]:
    return [one.images_seen for one in store.all()]


def event(kind: str, images: int, **more) -> dict:
    return {"time": 0.0, "kind": kind, "attempt": 1, "images_seen": images, **more}


def test_what_waits_for_its_evaluation_goes_when_others_are_better(store, tmp_path) -> None:
    recipe = resolve(ROOT / "configs/simflow_digits.yaml", ["run.keep_checkpoints=1"]).recipe
    asked = [event("evaluation_requested", images) for images in (10, 20)]
    keeper = Keeper(str(tmp_path / "run"), recipe, asked)
    keeper.see([event("report", 30)])
    assert seen(store) == [10, 20, 30]
    keeper.see([event("evaluation", 10, values={"evaluation/gfid": 2.0})])
    assert seen(store) == [10, 20, 30]
    keeper.see([event("evaluation", 20, values={"evaluation/gfid": 1.0})])
    assert seen(store) == [20, 30]


def test_ray_removes_none() -> None:
    assert retention().num_to_keep is None


def test_rays_list_lacks_what_is_gone_and_keeps_what_waits() -> None:
    results = [{"checkpoint_dir_name": name, "metrics": {"images_seen": 1}} for name in NAMES]
    listed = {
        "ray_version": "2.60.0",
        "checkpoint_results": results,
        "checkpoint_report_indices": [0, 1, 2],
        "latest_checkpoint_result": results[2],
        "pending_training_results": [results[2]],
        "pending_validation_specs": [True],
        "current_report_index": 3,
        "validated_checkpoint_dir_names": NAMES[:2],
        "timed_out_validation_checkpoint_dir_names": [],
        "failed_validation_checkpoint_dir_names": [],
    }
    left = without_gone(listed, frozenset(NAMES[:1]))
    _CheckpointManagerState.model_validate(left)  # by Ray's own record
    assert [one["checkpoint_dir_name"] for one in left["checkpoint_results"]] == NAMES[1:]
    assert left["checkpoint_report_indices"] == [1, 2]
    assert left["latest_checkpoint_result"] == results[2]
    assert left["pending_training_results"] == [results[2]]
    assert left["pending_validation_specs"] == [True]
    assert left["validated_checkpoint_dir_names"] == NAMES[1:2]
    assert left["current_report_index"] == 3
