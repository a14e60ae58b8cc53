"""What happens when a worker fails: named in the ledger, and no restart where none can help.

Ray restarts the workers after any error. An error that says `retryable = False` (bad input, numbers
that stay not finite) would come again, so it ends the run at once.
"""

import errno
import tempfile
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress
from typing import Any

from ray.train import UserCallback

from system.foundation.errors import TrainingSystemError
from system.telemetry.ledger import Ledger

LINES_KEPT = 12
# Where Ray's errors keep what they wrap.
WRAPPED = ("_base_exc", "controller_failure", "cause")
FULL = (errno.ENOSPC, errno.EDQUOT)
# An error that has crossed to another process has lost its causes, and some libraries have no
# number for it: storage, libc, safetensors, torch.
FULL_TEXTS = (
    "no space is left",
    "no space left on device",
    "disk quota exceeded",
    "os error 28",
    "pytorchstreamwriter failed writing",
    "iostream error",
)


class DiskFull(TrainingSystemError):
    """Nothing more fits where a run writes. Starting the workers again would end the same way."""


def causes(error: BaseException | None) -> list[BaseException]:
    """An error and all that it wraps, outermost first; Ray wraps a worker's error several times."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or each in found:
            continue
        found.append(each)
        waiting += [getattr(each, name, None) for name in WRAPPED]
        waiting += [each.__cause__, *getattr(each, "worker_failures", {}).values()]
    return found


def permanent(error: BaseException | None) -> TrainingSystemError | None:
    """The error of this system, among an error's causes, that a restart cannot help."""
    for each in causes(error):
        if isinstance(each, TrainingSystemError) and not each.retryable:
            return each
    return None


def disk_full(error: BaseException, run_url: str) -> DiskFull | None:
    """What to say of an error that a full disk caused; None for any other."""
    for each in causes(error):
        full = isinstance(each, OSError) and each.errno in FULL
        if isinstance(each, DiskFull):
            return each
        if full or any(text in str(each).lower() for text in FULL_TEXTS):
            return DiskFull(
                f"a disk was full while the run wrote ({summary(each).splitlines()[-1]}). The run "
                f"lies in {run_url}, its checkpoints wait for upload in {tempfile.gettempdir()} "
                "(TMPDIR): free space where it is short, for instance by removing runs that are "
                "done, or keep fewer checkpoints with run.keep_checkpoints. The same command "
                "then goes on from the newest checkpoint."
            )
    return None


@contextmanager
def legible_failures(run_url: str) -> Iterator[None]:
    """A full disk, wherever it was met, as one message without a traceback."""
    try:
        yield
    except Exception as error:  # whatever wraps it
        if (full := disk_full(error, run_url)) is None:
            raise
        raise full from error


def summary(error: BaseException) -> str:
    """The last lines of an error, for the ledger and the console."""
    text = str(error).strip() or type(error).__name__
    return "\n".join(text.splitlines()[-LINES_KEPT:])


class FailureWatch(UserCallback):
    """Runs beside Ray's controller, and sees every error of a worker before Ray decides."""

    def __init__(self, run_url: str, run: str) -> None:
        self._run_url = run_url
        self._run = run

    def after_exception(
        self, run_context: Any, worker_exceptions: Mapping[int, BaseException]
    ) -> None:
        """Write each failure down; raise what a restart cannot help, which ends the run."""
        full = [disk_full(error, self._run_url) for error in worker_exceptions.values()]
        with suppress(OSError) if any(full) else nullcontext():
            self._write_down(worker_exceptions)
        for found_full in filter(None, full):
            raise found_full
        for error in worker_exceptions.values():
            if (found := permanent(error)) is not None:
                raise found

    def _write_down(self, worker_exceptions: Mapping[int, BaseException]) -> None:
        with Ledger(self._run_url, "controller", run=self._run) as ledger:
            for rank, error in sorted(worker_exceptions.items()):
                ledger.write("worker_failed", rank=rank, error=summary(error))
