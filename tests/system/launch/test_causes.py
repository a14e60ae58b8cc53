"""Why a worker failed, however its error is wrapped."""

import pickle
from pathlib import Path

import pytest
import torch
from ray.exceptions import NodeDiedError
from ray.exceptions import OutOfMemoryError
from ray.exceptions import RayActorError
from ray.train import ControllerError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import PreemptionError
from ray.train.v2.api.preemption import PreemptionInfo

from system.foundation import storage
from system.foundation.errors import CheckpointError
from system.foundation.errors import ClusterError
from system.foundation.errors import DataError
from system.foundation.errors import NumericsError
from system.foundation.errors import Preempted
from system.foundation.errors import RecipeError
from system.foundation.errors import StalledError
from system.foundation.errors import StorageError
from system.launch.causes import LINES_KEPT
from system.launch.causes import Cause
from system.launch.causes import cause_of
from system.launch.causes import disk_full
from system.launch.causes import first_cause
from system.launch.causes import permanent
from system.launch.causes import stated
from system.launch.causes import summary


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
def test_a_full_disk_is_seen_however_it_is_wrapped(write):
    raised = full_disk(write)
    wrapped = ControllerError(WorkerGroupError("failed", {1: Wrapped(across(raised))}))
    for error in (raised, across(raised), wrapped):
        said = disk_full(error, "/data/run")
        assert "/data/run" in str(said)
        assert "same command" in str(said)
        assert said.exit_code == 5
        assert not said.retryable
        assert "\n" not in str(said)
        assert cause_of(error) is Cause.DISK_FULL
    assert disk_full(said, "/data/run") is said
    assert disk_full(OSError(5, "input/output error"), "/data/run") is None


class Turned(NumericsError):
    """An error that ends an attempt on purpose."""

    retryable = True
    planned = True


class Reclaimed(RayActorError):
    """As Ray tells of a worker whose node was taken away."""

    def __init__(self):
        super().__init__(preempted=True)


PRESSURE = "Task was killed due to the node running low on memory"
MAYBE = "unexpected exit. (1) The process is killed by SIGKILL by OOM killer due to high memory"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RecipeError("x"), Cause.CONFIG),
        (Wrapped(ClusterError("x")), Cause.CONFIG),
        (CheckpointError("x"), Cause.CONFIG),
        (DataError("gone"), Cause.DATA),
        (NumericsError("nan"), Cause.NUMERICS),
        (StorageError("down"), Cause.STORAGE),
        (chained(RuntimeError("x"), StorageError("down")), Cause.STORAGE),
        (StalledError("loader"), Cause.STALLED),
        (Wrapped(Turned("back")), Cause.PLANNED),
        (Reclaimed(), Cause.PREEMPTED),
        (WorkerHealthCheckFailedError("x", Reclaimed()), Cause.PREEMPTED),
        (PreemptionError(PreemptionInfo(1, {})), Cause.PREEMPTED),
        (RayActorError(), Cause.LOST),
        (RayActorError(error_msg=MAYBE), Cause.LOST),
        (WorkerHealthCheckFailedError("x", RayActorError()), Cause.LOST),
        (NodeDiedError("heartbeats"), Cause.LOST),
        (RayActorError(error_msg=PRESSURE), Cause.OUT_OF_MEMORY),
        (OutOfMemoryError(PRESSURE), Cause.OUT_OF_MEMORY),
        (MemoryError(), Cause.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), Cause.OUT_OF_MEMORY),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), Cause.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), Cause.OUT_OF_MEMORY),
        (RuntimeError("Connection closed by peer"), Cause.UNKNOWN),
        (ValueError("out of memory"), Cause.UNKNOWN),
    ],
)
def test_why_a_worker_failed(error, cause):
    assert cause_of(error) is cause


@pytest.mark.parametrize(
    ("errors", "cause", "ranks"),
    [
        ({0: RuntimeError("Connection closed"), 1: RayActorError()}, Cause.LOST, [1]),
        ({0: RuntimeError("x"), 2: MemoryError(), 3: MemoryError()}, Cause.OUT_OF_MEMORY, [2, 3]),
        ({0: RayActorError(), 1: Reclaimed()}, Cause.PREEMPTED, [1]),
        ({0: Reclaimed(), 1: NumericsError("nan")}, Cause.NUMERICS, [1]),
        ({1: ValueError("x"), 0: ValueError("y")}, Cause.UNKNOWN, [0, 1]),
    ],
)
def test_of_several_workers_the_weightiest_says_why(errors, cause, ranks):
    assert first_cause(errors) == (cause, ranks)


def test_an_allocation_that_really_fails_is_told_by_its_cause():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50, dtype=torch.uint8)
    assert cause_of(across(raised.value)) is Cause.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (None, None),
        (ValueError("x"), None),
        (WorkerGroupError("x", {0: OSError("x"), 1: Wrapped(StorageError("d"))}), StorageError),
        (WorkerGroupError("x", {0: StorageError("d"), 1: NumericsError("nan")}), NumericsError),
        (PreemptionError(PreemptionInfo(1, {})), Preempted),
    ],
)
def test_what_an_error_comes_to_in_our_words(error, found):
    assert type(stated(error)) is (found or type(None))


def test_a_circle_of_causes_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert permanent(first) is None


def test_summary_is_the_end_of_the_story():
    assert summary(ValueError("\n".join(str(n) for n in range(50)))).startswith("38\n")
    assert len(summary(ValueError("a\n" * 50)).splitlines()) <= LINES_KEPT
    assert summary(ValueError()) == "ValueError"
