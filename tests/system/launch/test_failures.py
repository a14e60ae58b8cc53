"""Which errors end a run, and what the ledger says of the others."""

import pickle
from pathlib import Path

import pytest
import torch
from ray.train import ControllerError
from ray.train import WorkerGroupError

from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.errors import NumericsError
from system.foundation.errors import StorageError
from system.launch.failures import LINES_KEPT
from system.launch.failures import DiskFull
from system.launch.failures import FailureWatch
from system.launch.failures import disk_full
from system.launch.failures import legible_failures
from system.launch.failures import permanent
from system.launch.failures import summary
from system.telemetry.ledger import read_ledger


class Wrapped(Exception):
    """As Ray wraps what a worker raised."""

    def __init__(self, inner):
        self._base_exc = inner


def chained(outer, inner):
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (None, None),
        (ValueError("x"), None),
        (StorageError("store down"), None),
        (DataError("gone"), DataError),
        (Wrapped(NumericsError("nan")), NumericsError),
        (ControllerError(Wrapped(DataError("gone"))), DataError),
        (chained(RuntimeError("outer"), DataError("gone")), DataError),
        (WorkerGroupError("two failed", {}), None),
        (WorkerGroupError("failed", {0: OSError("x"), 1: Wrapped(DataError("gone"))}), DataError),
    ],
)
def test_permanent(error, found):
    assert type(permanent(error)) is (found or type(None))


def full_disk(write):
    """What a write to a full disk raises, for real: everything is full at /dev/full."""
    try:
        write()
    except Exception as error:
        return error
    raise AssertionError("it fitted")


def write_to_full():
    Path("/dev/full").write_bytes(b"x")


def save_to_full():
    torch.save({"a": torch.zeros(10)}, "/dev/full")


def copy_to_full():
    with storage._named("/data/run/x", "write"):
        write_to_full()


def across(error):
    """An error as another process sees it: without its causes."""
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("write", [write_to_full, save_to_full, copy_to_full])
def test_a_full_disk_is_one_message_however_it_is_wrapped(write):
    raised = full_disk(write)
    wrapped = ControllerError(WorkerGroupError("failed", {1: Wrapped(across(raised))}))
    for error in (raised, across(raised), wrapped):
        refused = pytest.raises(DiskFull, match=r"/data/run.* same command")
        with refused as said, legible_failures("/data/run"):
            raise error
        assert said.value.exit_code == 1
        assert not said.value.retryable
        assert "\n" not in str(said.value)
    assert disk_full(said.value, "/data/run") is said.value


def test_other_failures_are_left_as_they_are():
    assert disk_full(OSError(5, "input/output error"), "/data/run") is None
    with pytest.raises(ValueError, match="other"), legible_failures("/data/run"):
        raise ValueError("other")


def test_a_full_disk_ends_the_run_even_where_the_ledger_does_not_fit(tmp_path):
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "controller.jsonl").symlink_to("/dev/full")
    watch = FailureWatch(str(tmp_path), "r")
    with pytest.raises(DiskFull):
        watch.after_exception(None, {0: Wrapped(across(full_disk(copy_to_full)))})


def test_a_circle_of_causes_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert permanent(first) is None


def test_summary_is_the_end_of_the_story():
    assert summary(ValueError("\n".join(str(n) for n in range(50)))).startswith("38\n")
    assert len(summary(ValueError("a\n" * 50)).splitlines()) <= LINES_KEPT
    assert summary(ValueError()) == "ValueError"


def test_failures_are_written_down_and_only_the_permanent_ends_the_run(tmp_path):
    watch = FailureWatch(str(tmp_path), "r")
    watch.after_exception(None, {1: RuntimeError("killed"), 0: StorageError("down")})
    with pytest.raises(NumericsError):
        watch.after_exception(None, {0: Wrapped(NumericsError("nan"))})
    events = read_ledger(str(tmp_path))
    assert [(e["kind"], e["rank"]) for e in events] == [("worker_failed", n) for n in (0, 1, 0)]
    assert events[1]["error"] == "killed"
