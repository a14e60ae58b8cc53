"""A run that is to stop for a while: its workers save and leave, and its driver exits with 75.

    ask_to_pause("runs/digits", "digits-2", "the night is over")

The request is a file in the run's own storage, so whoever asks needs no way to the cluster. It
names the job that is to pause: a later job of the same run knows nothing of it and trains on, and
asking twice, or too late, does no harm. A job learns its name, and a time at which it pauses
unasked (should nobody be there to ask), from its environment.

    runs/digits/pauses/digits-2
"""

import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from system.foundation import storage
from system.foundation.errors import TrainingSystemError

FOLDER = "pauses"
JOB_VARIABLE = "LATENT_FLOWS_JOB"
PAUSE_AT_VARIABLE = "LATENT_FLOWS_PAUSE_AT"  # in Unix time
LOOK_INTERVAL_S = 2.0

log = logging.getLogger(__name__)


def ask_to_pause(url: str, job: str, reason: str) -> None:
    """Have a job of the run at `url` save and end. Nothing happens if that was asked before."""
    with suppress(FileExistsError):
        storage.write_new(_place(url, job), reason.encode())


def job_variables(job: str, pause_at: float | None) -> dict[str, str]:
    """What a job must have in its environment to be paused by its name, and by that time."""
    limit = {} if pause_at is None else {PAUSE_AT_VARIABLE: f"{pause_at:.3f}"}
    return {JOB_VARIABLE: job} | limit


class PauseWatch:
    """Looks now and then, beside the loop, whether this job is to pause. Only rank 0 need look.

    A job that bears no name is never asked, and one without a time never pauses by itself.
    """

    def __init__(
        self,
        url: str,
        environment: Mapping[str, str] = os.environ,
        interval_s: float = LOOK_INTERVAL_S,
    ) -> None:
        self._url = url
        self._job = environment.get(JOB_VARIABLE)
        limit = environment.get(PAUSE_AT_VARIABLE)
        self._pause_at = float(limit) if limit else None
        self._interval_s = interval_s
        self._asked = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pause", daemon=True)

    @property
    def is_asked(self) -> bool:
        """Whether the run is to save and leave."""
        return self._asked.is_set()

    def __enter__(self) -> Self:
        if self._job is not None or self._pause_at is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()

    def _watch(self) -> None:
        while not self._looks_asked():
            if self._done.wait(self._interval_s):
                return
        self._asked.set()

    def _looks_asked(self) -> bool:
        if self._pause_at is not None and time.time() >= self._pause_at:
            return True
        if self._job is None:
            return False
        try:
            return storage.exists(_place(self._url, self._job))
        except (OSError, TrainingSystemError) as error:
            log.warning("whether the run is to pause is not known now: %s", error)
            return False


def _place(url: str, job: str) -> str:
    return storage.join(url, FOLDER, job)
