"""Why a worker failed, read from its error: Ray wraps it, and on its way it loses its causes.

Whether anybody starts the workers again is decided by `retry_policy` from what this says.
"""

import tempfile
from collections.abc import Mapping
from enum import StrEnum

from ray.exceptions import NodeDiedError
from ray.exceptions import OutOfMemoryError
from ray.exceptions import RayActorError
from ray.exceptions import WorkerCrashedError
from ray.train.v2.api.exceptions import PreemptionError

from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.errors import ExitCode
from system.foundation.errors import NumericsError
from system.foundation.errors import Preempted
from system.foundation.errors import StalledError
from system.foundation.errors import StorageError
from system.foundation.errors import TrainingSystemError

LINES_KEPT = 12
# Where Ray's errors keep what they wrap.
WRAPPED = ("_base_exc", "controller_failure", "health_check_failure", "cause")
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
# CUDA's, cuBLAS's, the CPU allocator's. Of a dead process Ray only says what may have been.
MEMORY_TEXTS = ("out of memory", "alloc_failed", "can't allocate memory", "cannot allocate memory")
# Ray's own watch over a node's memory.
MEMORY_PRESSURE_TEXTS = ("memory pressure", "running low on memory")


class Cause(StrEnum):
    """Why the workers failed, the weightiest first: of several workers the first one counts.

    One rank's failure makes the others' collectives fail, which then say little.
    """

    CONFIG = "config"
    DATA = "data"
    NUMERICS = "numerics"
    DISK_FULL = "disk_full"
    PREEMPTED = "preempted"
    PLANNED = "planned"  # a worker asked for a restart
    OUT_OF_MEMORY = "out_of_memory"
    STALLED = "stalled"
    LOST = "lost"  # a process or a node has gone without a word
    STORAGE = "storage"
    UNKNOWN = "unknown"


class DiskFull(TrainingSystemError):
    """Nothing more fits where a run writes. Starting the workers again would end the same way."""

    exit_code = ExitCode.STORAGE


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


def stated(error: BaseException | None) -> TrainingSystemError | None:
    """What an error comes to in words of this system: what is permanent goes first."""
    found = [each for each in causes(error) if isinstance(each, TrainingSystemError)]
    if (lasting := permanent(error)) is not None:
        return lasting
    if not found and any(isinstance(each, PreemptionError) for each in causes(error)):
        return Preempted("the nodes of the workers were taken away. The same command goes on.")
    return found[0] if found else None


def disk_full(error: BaseException, run_url: str) -> DiskFull | None:
    """What to say of an error that a full disk caused; None for any other."""
    for each in causes(error):
        full = isinstance(each, OSError) and each.errno in storage.FULL
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


def summary(error: BaseException) -> str:
    """The last lines of an error, for the ledger and the console."""
    text = str(error).strip() or type(error).__name__
    return "\n".join(text.splitlines()[-LINES_KEPT:])


def cause_of(error: BaseException) -> Cause:
    """Why one worker failed."""
    if disk_full(error, "") is not None:
        return Cause.DISK_FULL
    found = {_cause_of_one(each) for each in causes(error)}
    return next(cause for cause in Cause if cause in found)


def first_cause(errors: Mapping[int, BaseException]) -> tuple[Cause, list[int]]:
    """Why a group of workers failed, and on which ranks that began."""
    by_rank = {rank: cause_of(error) for rank, error in errors.items()}
    cause = next(cause for cause in Cause if cause in by_rank.values())
    return cause, sorted(rank for rank, found in by_rank.items() if found is cause)


def _cause_of_one(error: BaseException) -> Cause:
    if isinstance(error, TrainingSystemError):
        return _cause_in_our_words(error)
    text = str(error).lower()
    if isinstance(error, PreemptionError):
        return Cause.PREEMPTED
    if isinstance(error, RayActorError | NodeDiedError | WorkerCrashedError):
        if getattr(error, "preempted", False):
            return Cause.PREEMPTED
        pressed = any(each in text for each in MEMORY_PRESSURE_TEXTS)
        return Cause.OUT_OF_MEMORY if pressed else Cause.LOST
    # torch's by its name: Ray's controller reads causes, and does without torch.
    if isinstance(error, MemoryError | OutOfMemoryError) or _is_torchs_out_of_memory(error):
        return Cause.OUT_OF_MEMORY
    if isinstance(error, RuntimeError) and any(each in text for each in MEMORY_TEXTS):
        return Cause.OUT_OF_MEMORY
    return Cause.UNKNOWN


def _is_torchs_out_of_memory(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryError" and isinstance(error, RuntimeError)


def _cause_in_our_words(error: TrainingSystemError) -> Cause:
    if error.planned:
        return Cause.PLANNED
    match error:
        case DataError():
            return Cause.DATA
        case NumericsError() if not error.retryable:
            return Cause.NUMERICS
        case StorageError():
            return Cause.STORAGE
        case StalledError():
            return Cause.STALLED
        case Preempted():
            return Cause.PREEMPTED
    return Cause.UNKNOWN if error.retryable else Cause.CONFIG
