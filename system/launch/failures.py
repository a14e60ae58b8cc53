"""What happens when a worker fails: named in the ledger, and no restart where none can help.

Ray restarts the workers after any error. An error that says `retryable = False` (bad input, numbers
that stay not finite) would come again, so it ends the run at once.
"""

from collections.abc import Mapping
from typing import Any

from ray.train import UserCallback

from system.foundation.errors import TrainingSystemError
from system.telemetry.ledger import Ledger

LINES_KEPT = 12


def causes(error: BaseException | None) -> list[BaseException]:
    """An error and what it wraps, outermost first; Ray wraps a worker's error once or twice."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = (
            getattr(error, "_base_exc", None)
            or getattr(error, "controller_failure", None)
            or getattr(error, "cause", None)
            or error.__cause__
        )
    return found


def permanent(error: BaseException | None) -> TrainingSystemError | None:
    """The error of this system, among an error's causes, that a restart cannot help."""
    for each in causes(error):
        if isinstance(each, TrainingSystemError) and not each.retryable:
            return each
    return None


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
        with Ledger(self._run_url, "controller", run=self._run) as ledger:
            for rank, error in sorted(worker_exceptions.items()):
                ledger.write("worker_failed", rank=rank, error=summary(error))
        for error in worker_exceptions.values():
            if (found := permanent(error)) is not None:
                raise found
