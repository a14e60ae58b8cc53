"""What is done about failures, what the ledger says of them, and with what a run ends."""

import pickle
from pathlib import Path

import pytest
import torch
from ray.train import ControllerError
from ray.train import WorkerGroupError

from system.foundation.errors import ClusterError
from system.foundation.errors import NumericsError
from system.foundation.errors import StorageError
from system.launch.causes import DiskFull
from system.launch.failures import FailureWatch
from system.launch.failures import GivenUp
from system.launch.failures import PoisonBatch
from system.launch.failures import decided_micro_batch
from system.launch.failures import legible_failures
from system.launch.failures import position_of
from system.launch.failures import stamp
from system.launch.failures import with_micro_batch
from system.launch.placement import Placement
from system.telemetry.ledger import read_ledger
from system.train.guards.rollback import exclusion_of
from system.train.guards.rollback import rollbacks_in


class Spare(Placement):
    """A placement on nodes of which every one is spare; there is no Ray to ask."""

    def spare(self):
        return frozenset(self.nodes.values())


@pytest.fixture
def placement():
    """Two workers, on two nodes."""
    placed = Spare(2, {"CPU": 1.0})
    placed.nodes = {0: "node-a", 1: "node-b"}
    return placed


@pytest.fixture
def watch(recipe, placement, tmp_path):
    """What watches over a run in the test's folder."""
    return FailureWatch(str(tmp_path), recipe, placement)


def at(error, images_seen, began=0):
    """An error that a worker stamped, as another process sees it."""
    stamp(error, images_seen, began=began)
    return pickle.loads(pickle.dumps(error))


def told(folder, kind):
    return [event for event in read_ledger(str(folder)) if event["kind"] == kind]


def test_a_position_crosses_to_the_controller():
    error = ControllerError(at(ValueError("x"), 640, began=128))
    assert position_of(error) == (640, True)
    assert position_of(at(ValueError("x"), 128, began=128)) == (128, False)
    assert position_of(ValueError("x")) is None


def test_failures_are_written_down_and_only_the_permanent_ends_the_run(watch, tmp_path):
    watch.after_exception(None, {1: at(RuntimeError("killed"), 64), 0: StorageError("down")})
    with pytest.raises(NumericsError):
        watch.after_exception(None, {0: WorkerGroupError("x", {0: NumericsError("nan")})})
    failed = told(tmp_path, "worker_failed")
    assert [(e["rank"], e["cause"]) for e in failed] == [
        (0, "storage"), (1, "unknown"), (0, "numerics"),
    ]  # fmt: skip
    assert failed[1]["error"] == "killed"
    assert failed[1]["images_seen"] == 64
    assert failed[1]["node"] == "node-b"
    decided = told(tmp_path, "failure_decided")
    assert [(e["action"], e["cause"]) for e in decided] == [
        ("restart", "storage"), ("stop", "numerics"),
    ]  # fmt: skip
    assert decided[0]["wait_s"] == 10


def test_a_run_is_given_up_with_the_last_error_in_words(watch):
    for count in range(3):
        watch.after_exception(None, {0: at(RuntimeError(f"error {count}"), 64 * count)})
    with pytest.raises(GivenUp, match=r"4 failures in a row.*allows 3.*error 4") as ended:
        watch.after_exception(None, {0: at(RuntimeError("error 4"), 640)})
    assert ended.value.exit_code == 1


def test_a_store_that_stays_down_ends_the_run_with_its_own_exit_code(watch):
    for _ in range(3):
        watch.after_exception(None, {0: StorageError("bucket gone")})
    with pytest.raises(StorageError, match="bucket gone") as ended:
        watch.after_exception(None, {0: StorageError("bucket gone")})
    assert ended.value.exit_code == 5


def test_a_new_checkpoint_wipes_the_slate(watch):
    for count in range(12):
        watch.after_report(None, [], object())
        watch.after_report(None, [], None)
        watch.after_exception(None, {0: at(RuntimeError("x"), 64 * count)})


def test_a_poison_batch_is_left_out_by_its_position(watch, tmp_path):
    for _ in range(2):
        watch.after_exception(None, {0: at(ValueError("bad batch"), 640, began=512)})
    decided = told(tmp_path, "failure_decided")
    assert [each["action"] for each in decided] == ["restart", "skip"]
    [left_out] = rollbacks_in(decided)
    assert exclusion_of([left_out]).touches(640, 641)
    assert "fails every time" in left_out.reason


def test_a_poison_batch_too_many_ends_the_run_by_name(watch, recipe, tmp_path):
    for position in (640, 640, 704):
        watch.after_exception(None, {0: at(ValueError("bad batch"), position, began=512)})
    with pytest.raises(PoisonBatch, match=r"after 704 images.*bad batch") as ended:
        watch.after_exception(None, {0: at(ValueError("bad batch"), 704, began=512)})
    assert f"positions 704 to {704 + recipe.run.global_batch - 1}" in str(ended.value)
    assert ended.value.exit_code == 4
    decided = told(tmp_path, "failure_decided")[-1]
    assert (decided["action"], decided["position"]) == ("stop", 704)


def test_of_a_dead_worker_the_others_know_the_position(watch):
    lost = {1: WorkerGroupError("x", {}), 0: at(RuntimeError("Connection closed"), 640)}
    watch.after_exception(None, lost)
    assert watch._failures[-1].images_seen == 640


def test_out_of_memory_is_tried_once_with_a_smaller_micro_batch(watch, recipe, tmp_path):
    share = recipe.run.global_batch // 2
    watch.after_exception(None, {0: torch.OutOfMemoryError("CUDA out of memory")})
    events = read_ledger(str(tmp_path))
    assert decided_micro_batch(events) == share // 2
    assert with_micro_batch(recipe, share // 2).cluster.micro_batch == share // 2
    assert decided_micro_batch([*events, {"kind": "driver_started"}]) is None
    with pytest.raises(ClusterError, match=r"again.*micro_batch") as ended:
        watch.after_exception(None, {0: torch.OutOfMemoryError("CUDA out of memory")})
    assert ended.value.exit_code == 2


def test_a_micro_batch_is_never_made_larger(recipe):
    assert with_micro_batch(recipe, None) is recipe
    small = with_micro_batch(recipe, 4)
    assert with_micro_batch(small, 8) is small


def test_a_node_on_which_workers_fail_again_is_left_out(watch, placement):
    for images_seen in (64, 128):
        watch.after_exception(None, {1: at(RuntimeError("ECC error"), images_seen)})
    selector = placement.on_controller_start_worker_group(scaling_config=None, num_workers=1)
    assert selector == {"ray.io/node-id": "!in(node-b)"}


def full_disk():
    """What a write to a full disk raises, for real: everything is full at /dev/full."""
    with pytest.raises(OSError, match="28") as raised:
        Path("/dev/full").write_bytes(b"x")
    return raised.value


def test_a_full_disk_is_one_message_without_a_traceback():
    wrapped = ControllerError(WorkerGroupError("failed", {1: full_disk()}))
    with pytest.raises(DiskFull, match="/data/run"), legible_failures("/data/run"):
        raise wrapped
    with pytest.raises(ValueError, match="other"), legible_failures("/data/run"):
        raise ValueError("other")


def test_a_full_disk_ends_the_run_even_where_the_ledger_does_not_fit(watch, tmp_path):
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "controller.jsonl").symlink_to("/dev/full")
    with pytest.raises(DiskFull):
        watch.after_exception(None, {0: full_disk()})


def test_what_the_ledger_could_not_take_comes_with_the_next_failure(watch, tmp_path):
    (tmp_path / "ledger").write_text("a file where the folder should be")
    watch.after_exception(None, {0: RuntimeError("first")})
    (tmp_path / "ledger").unlink()
    watch.after_exception(None, {0: RuntimeError("second")})
    assert [e["error"] for e in told(tmp_path, "worker_failed")] == ["first", "second"]
