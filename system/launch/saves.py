"""Checkpoints on their way to storage: written, uploaded and committed beside further updates.

The loop stands still for the copy into host memory alone (`train/snapshot`). The rest goes on in
the one thread that Ray has for uploads, on every worker: so one follows on the other, and Ray hears
of a checkpoint when it is committed. One is on its way at most: the next save waits for it.

A store that fails now and then is asked again for a while. Each time is written down; what comes of
a save that is given up is a restart, since Ray would take the checkpoint for committed. Without its
last marker it is none, so whoever goes on begins with the one before.
"""

import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import upload
from system.foundation import storage
from system.foundation.errors import StorageError
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.train.snapshot import Snapshot

# For so long a store that fails is asked again, after pauses that grow to the longest.
PATIENCE_S = 300.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


class Saves:
    """The saves of one worker in this attempt."""

    def __init__(
        self,
        store: CheckpointStore,
        world: World,
        ledger: Ledger,
        attempt: int,
        *,
        on_upload: Callable[[float], None],
    ) -> None:
        self._store = store
        self._world = world
        self._ledger = ledger
        self._attempt = attempt
        self._on_upload = on_upload
        self._idle = threading.Event()
        self._idle.set()

    def settle(self, timeout_s: float | None = None) -> None:
        """Return when none is on its way, or after so long."""
        self._idle.wait(timeout_s)

    def begin(self, snapshot: Snapshot, folder: Path, images_seen: int) -> Callable[[], None]:
        """What brings the state to storage by way of `folder`: to be called in a thread, once."""
        self._idle.clear()
        return partial(self._save, snapshot, folder, images_seen)

    def _save(self, snapshot: Snapshot, folder: Path, images_seen: int) -> None:
        try:
            self._bring(snapshot, folder, images_seen)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._idle.set()

    def _bring(self, snapshot: Snapshot, folder: Path, images_seen: int) -> None:
        start = time.monotonic()
        place = self._store.place(images_seen, self._attempt)
        names = self._write(snapshot, folder, images_seen)
        written = time.monotonic()
        self._upload(folder, place.url, names, images_seen)
        end = time.monotonic()
        self._on_upload(end - start)
        if self._world.is_first:
            self._ledger.write(
                "checkpoint", images_seen=images_seen, checkpoint=place.url,
                write_s=written - start, upload_s=end - start,
            )  # fmt: skip

    def _write(self, snapshot: Snapshot, folder: Path, images_seen: int) -> list[str]:
        try:
            return snapshot.write(folder)
        except Exception as error:
            self._tell(images_seen, error)
            raise

    def _upload(self, folder: Path, url: str, names: list[str], images_seen: int) -> None:
        end, pause_s = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S
        while True:
            try:
                upload(folder, url, self._world.rank, self._world.size, names=names)
                return
            except (OSError, StorageError) as error:
                self._tell(images_seen, error)
                is_gone = not folder.exists()  # with the worker: who waits for it waits for ever
                if is_full(error) or is_gone or time.monotonic() + pause_s > end:
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _tell(self, images_seen: int, error: Exception) -> None:
        self._ledger.write(
            "save_failed", images_seen=images_seen, rank=self._world.rank, error=str(error)
        )


def is_full(error: BaseException | None) -> bool:
    """Whether it is owed to a disk without space, for which no patience helps."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in storage.FULL:
            return True
        error = error.__cause__
    return False
