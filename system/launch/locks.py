"""Locks that end with the process that holds them, however it ends: the kernel lets go of them.

    with driver_lock("/data/runs/digits"):
        ...  # no other driver of this run, here or on another machine that mounts the folder

A lock is on an open file (`flock`), so neither a crash nor a SIGKILL leaves a run locked. Where
there are no such locks, in object stores and on some file systems, a `lease` takes their place.
"""

import fcntl
import json
import logging
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import IO
from typing import Any
from typing import Protocol

from system.foundation import storage
from system.foundation.errors import ClusterError
from system.launch.lease import check_not_leased
from system.launch.lease import lease

DRIVER_LOCK = "driver.lock"
FOLDER_LOCK = "owner.lock"
FOLDER_PREFIX = "r-"
# A driver that only looks whether a run is driven holds the lock for a moment.
PATIENCE_S = 1.0

log = logging.getLogger(__name__)


class Holding(Protocol):
    """What a driver holds its run by."""

    def check(self) -> None:
        """Raise ClusterError once the run is no longer this driver's."""


class _Locked:
    """A lock of the kernel's is never lost."""

    def check(self) -> None:
        """It is held until it is let go of."""


@contextmanager
def driver_lock(url: str) -> Iterator[Holding]:
    """Hold a run for its one driver. Raises ClusterError, naming the holder, if another drives it.

    `url` is the run's folder. The lock belongs to the process that drives, not to one that started
    it: that one would lock out its own child.
    """
    if not storage.is_local(url) or not _locks(path := _place(url)):
        with lease(url) as held:
            yield held
        return
    with path.open("a+") as file:
        deadline = time.monotonic() + PATIENCE_S
        while not _take(file):
            if time.monotonic() > deadline:
                raise _driven(url, path)
            time.sleep(0.05)
        _sign(file)
        try:
            yield _Locked()
        finally:
            file.truncate(0)


def check_not_driven(url: str) -> None:
    """Raise ClusterError if a driver of this run is alive; nothing is written or kept."""
    if not storage.is_local(url):
        check_not_leased(url)
        return
    if not (path := _place(url)).exists():
        return
    with path.open("r") as file:
        if not _take(file, fcntl.LOCK_SH):
            raise _driven(url, path)


@contextmanager
def private_folder(parent: str) -> Iterator[Path]:
    """A new folder with a short name, removed at the end; those of dead owners are removed first.

    A folder's mark is a file that its owner keeps locked: one that nobody holds is left from an
    owner that was killed. Folders without the mark are not ours and stay.
    """
    _remove_abandoned(Path(parent))
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=parent))
    try:
        with (folder / f"{FOLDER_LOCK}.new").open("a+") as file:
            _take(file)
            _sign(file)
            # The mark appears when it is locked already, never before.
            (folder / f"{FOLDER_LOCK}.new").rename(folder / FOLDER_LOCK)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for mark in parent.glob(f"{FOLDER_PREFIX}*/{FOLDER_LOCK}"):
        with suppress(OSError):
            if mark.is_symlink() or mark.parent.is_symlink() or mark.stat().st_uid != os.getuid():
                continue
            with mark.open("r") as file:
                if _take(file):
                    shutil.rmtree(mark.parent, ignore_errors=True)


def _place(url: str) -> Path:
    return storage.local_path(url) / "logs" / DRIVER_LOCK


def _locks(path: Path) -> bool:
    """Whether the file system of a path knows locks at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            log.info("%s cannot be locked (%s): a lease takes the lock's place", path, error)
            return False
    return True


def _take(file: IO[Any], kind: int = fcntl.LOCK_EX) -> bool:
    """Whether the lock is ours now. Where a filesystem has no locks, everyone gets it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("%s cannot be locked (%s); two drivers would not notice", file.name, error)
    return True


def _sign(file: IO[str]) -> None:
    file.truncate(0)
    json.dump({"pid": os.getpid(), "host": platform.node(), "since": int(time.time())}, file)
    file.flush()


def _driven(url: str, path: Path) -> ClusterError:
    try:
        holder = json.loads(path.read_text())
        who = f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"  # it has not signed yet
    return ClusterError(
        f"the run in {url} is driven by {who} at this moment; two drivers would mix their "
        "checkpoints. Wait for its end or stop it, or give another run.name."
    )
