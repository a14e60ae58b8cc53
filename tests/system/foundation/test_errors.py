import pickle

import pytest

from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.errors import ClusterError
from system.foundation.errors import DataError
from system.foundation.errors import NumericsError
from system.foundation.errors import RecipeError
from system.foundation.errors import RolledBack
from system.foundation.errors import StorageError
from system.foundation.errors import TrainingSystemError


@pytest.mark.parametrize("error", [RecipeError, DataError, CheckpointError, ClusterError])
def test_bad_input_leaves_with_two_and_is_not_tried_again(error: type[BadInput]) -> None:
    assert error.exit_code == 2
    assert not error.retryable
    assert issubclass(error, BadInput)


@pytest.mark.parametrize(
    ("error", "retryable"), [(NumericsError, False), (StorageError, True), (RolledBack, True)]
)
def test_failures_leave_with_one(error: type[TrainingSystemError], retryable: bool) -> None:
    assert error.exit_code == 1
    assert error.retryable is retryable


def test_errors_cross_between_processes() -> None:
    error = pickle.loads(pickle.dumps(RecipeError("run.sead: unknown key")))
    assert isinstance(error, RecipeError)
    assert str(error) == "run.sead: unknown key"
