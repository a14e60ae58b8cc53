import pytest

from data_pipeline.sources.patience import ATTEMPTS
from data_pipeline.sources.patience import patiently
from system.foundation.errors import StorageError


def fails(times, error=StorageError):
    """A call that fails so often, and then tells how often it was made."""
    calls = []

    def call():
        calls.append(None)
        if len(calls) <= times:
            raise error("throttled")
        return len(calls)

    return call


def test_a_store_that_fails_now_and_then():
    assert patiently("s3://bucket", fails(0), pause_s=0) == 1
    assert patiently("s3://bucket", fails(ATTEMPTS - 1), pause_s=0) == ATTEMPTS


def test_one_that_never_answers():
    with pytest.raises(StorageError, match=r"throttled \(the last of 6 attempts\)"):
        patiently("s3://bucket", fails(ATTEMPTS), pause_s=0)


def test_other_errors_are_not_tried_again():
    with pytest.raises(ValueError, match="throttled"):
        patiently("s3://bucket", fails(1, ValueError), pause_s=0)


def test_a_disk_is_not_asked_again():
    with pytest.raises(StorageError, match=r"throttled$"):
        patiently("/some/where", fails(1), pause_s=0)
