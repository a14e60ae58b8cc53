"""Which errors end a run, and what the ledger says of the others."""

import pytest
from ray.train import ControllerError
from ray.train import WorkerGroupError

from system.foundation.errors import DataError
from system.foundation.errors import NumericsError
from system.foundation.errors import StorageError
from system.launch.failures import LINES_KEPT
from system.launch.failures import FailureWatch
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
    ],
)
def test_permanent(error, found):
    assert type(permanent(error)) is (found or type(None))


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
