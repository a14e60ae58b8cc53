"""What Ray tells a worker of machines that go, and the controller of another number of workers.

A node that is drained is told of by Ray (`ray.train.get_preemption_info`). A change of the group's
size is not: the controller calls `ask_to_make_way` in the process of every worker, and looks with
`has_made_way` whether all is saved.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

import ray.train
from ray.train import CheckpointConsistencyMode

from system.train.departure import Notice

_asked = threading.Event()
_made = threading.Event()


def ask_to_make_way() -> None:
    """Have the workers save and stand still. Runs beside the loop, in a worker's process."""
    _asked.set()


def has_made_way() -> bool:
    """Whether all is saved since `ask_to_make_way`, and nothing is trained any more."""
    return _made.is_set()


class RayAnnouncements:
    """What the loop hears as one of Ray's workers."""

    def __init__(self, is_to_pause: Callable[[], bool] = lambda: False) -> None:
        self._is_to_pause = is_to_pause
        self._uploads: deque[float] = deque(maxlen=3)

    def preemption(self) -> Notice | None:
        """The drain of a node of this group, with its deadline; all workers must ask alike."""
        info = ray.train.get_preemption_info()
        if info is None:
            return None
        deadline = None if info.deadline_ms is None else info.deadline_ms / 1000
        return Notice("preemption", time.time(), deadline)

    def resize(self) -> bool:
        """Whether the controller has asked this worker's group to make way."""
        return _asked.is_set() and not _made.is_set()

    def pause(self) -> bool:
        """Whether somebody has asked the run to stop for a while."""
        return self._is_to_pause()

    def upload_s(self) -> float | None:
        """What the slowest of the latest uploads took; None if there was none yet."""
        return max(self._uploads, default=None)

    def note_upload(self, seconds: float) -> None:
        """Remember what an upload took. Called in Ray's thread."""
        self._uploads.append(seconds)

    def settle(self) -> None:
        """Return when every checkpoint is uploaded and known to Ray."""
        ray.train.get_all_reported_checkpoints(consistency_mode=CheckpointConsistencyMode.COMMITTED)

    def make_way(self) -> None:
        """Let the controller know that it may end this group."""
        _made.set()
