import pickle
from pathlib import Path

import pytest

from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.errors import ClusterError
from system.foundation.errors import DataError
from system.foundation.errors import ExitCode
from system.foundation.errors import NumericsError
from system.foundation.errors import Preempted
from system.foundation.errors import RecipeError
from system.foundation.errors import RolledBack
from system.foundation.errors import StalledError
from system.foundation.errors import StorageError
from system.foundation.errors import TrainingSystemError


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (TrainingSystemError, 1, False),
        (RecipeError, 2, False),
        (CheckpointError, 2, False),
        (ClusterError, 2, False),
        (NumericsError, 3, False),
        (RolledBack, 3, True),
        (DataError, 4, False),
        (StorageError, 5, True),
        (StalledError, 6, True),
        (Preempted, 75, True),
    ],
)
def test_every_error_has_its_exit_code_and_says_whether_a_restart_can_help(
    error: type[TrainingSystemError], code: int, retryable: bool
) -> None:
    assert error.exit_code == code
    assert error.retryable is retryable


@pytest.mark.parametrize("error", [RecipeError, DataError, CheckpointError, ClusterError])
def test_what_the_user_gave_is_one_family(error: type[TrainingSystemError]) -> None:
    assert issubclass(error, BadInput)


def test_the_runbook_explains_every_exit_code() -> None:
    runbook = (Path(__file__).parents[3] / "ops" / "runbook.md").read_text("utf-8")
    assert all(f"| {code.value} |" in runbook for code in ExitCode)


def test_errors_cross_between_processes() -> None:
    error = pickle.loads(pickle.dumps(RecipeError("run.sead: unknown key")))
    assert isinstance(error, RecipeError)
    assert str(error) == "run.sead: unknown key"
