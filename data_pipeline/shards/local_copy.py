"""Local copies of Parquet files that lie elsewhere, named by what is in them.

A footer names the columns' digests, so its own digest names the content: a copy made once serves
every process of this user on this machine, and another version never takes its place. A process
holds a lock on what it uses for as long as it lives; a new copy removes those that nobody holds and
that nobody has asked for in a week.
"""

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from contextlib import closing
from pathlib import Path

import xxhash

from data_pipeline.reading.fetch import Fetcher
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from system.foundation.settings.data import Fetching

_MAGIC = b"PAR1"
_ENDING = 8  # bytes: the footer's length, then the magic
_GUESS = 2**20  # bytes from the end that hold most footers
_UNUSED_S = 7 * 86400.0

_held: dict[Path, int] = {}  # descriptors of the copies that this process uses, which lock them


def fetch(url: str) -> Path:
    """A local copy of the Parquet file at `url`: the one that is here already, or a new one.

    Raises FileNotFoundError, and DataError where it is no whole Parquet file.
    """
    size = storage.size(url)
    with closing(Fetcher(Fetching())) as fetcher:
        footer = _footer(fetcher, url, size)
        path = _folder() / f"{xxhash.xxh3_128_hexdigest(footer)}.parquet"
        if not _use(path, footer):
            storage.write_parts(str(path), list(fetcher.parts(url, size)))
            _remove_unused(path.parent)
            if not _use(path, footer):
                path.unlink(missing_ok=True)
                raise DataError(
                    f"{url}: changed while it was copied. Start again when it is written."
                )
    return path


def keep(content: bytes) -> Path:
    """A local file of this content, a Parquet file."""
    length = int.from_bytes(content[-_ENDING:-4], "little")
    footer = content[-length - _ENDING :]
    path = _folder() / f"{xxhash.xxh3_128_hexdigest(footer)}.parquet"
    if not _use(path, footer):
        storage.write_bytes(str(path), content)
        _remove_unused(path.parent)
        _use(path, footer)
    return path


def _footer(fetcher: Fetcher, url: str, size: int) -> bytes:
    start = max(0, size - _GUESS)
    (tail,) = fetcher.ranges([(url, start, size - start)])
    length = int.from_bytes(tail[-_ENDING:-4], "little") + _ENDING
    if tail[-4:] != _MAGIC or length + len(_MAGIC) > size:
        raise DataError(
            f"{url}: damaged manifest: {size} bytes that do not end as a Parquet file does. Copy "
            "it again from where it was packed."
        )
    if length > len(tail):
        (tail,) = fetcher.ranges([(url, size - length, length)])
    return tail[-length:]


def _use(path: Path, footer: bytes) -> bool:
    """Whether the file is there and ends so; if it is, it stays while this process lives.

    What is damaged before its end is found when it is read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # not there
        return False
    with contextlib.suppress(OSError):  # a disk without locks: nothing is removed there either
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    about = os.fstat(descriptor)
    start = about.st_size - len(footer)
    is_copy = start >= 0 and os.pread(descriptor, len(footer), start) == footer
    if not is_copy or not _is_at(path, about):
        os.close(descriptor)
        return False
    os.utime(descriptor, ns=(time.time_ns(), about.st_mtime_ns))  # disks do not note every reading
    before = _held.get(path)
    _held[path] = descriptor
    if before is not None:
        os.close(before)
    return True


def _remove_unused(folder: Path) -> None:
    """Remove copies that no process holds and that none has asked for in a week."""
    for path in folder.glob("*.parquet"):
        with contextlib.suppress(OSError), path.open("rb") as file:  # held, or gone meanwhile
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            about = os.fstat(file.fileno())
            used = max(about.st_atime, about.st_mtime)
            if time.time() - used > _UNUSED_S and _is_at(path, about):
                path.unlink()


def _is_at(path: Path, about: os.stat_result) -> bool:
    """Whether the path is still that of this file."""
    try:
        return os.path.samestat(path.stat(), about)
    except OSError:
        return False


def _folder() -> Path:
    """A folder for this user alone; under TMPDIR where that is set."""
    path = Path(tempfile.gettempdir()) / f"shard-manifests-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise BadInput(f"{path} belongs to another user. Set TMPDIR to a folder of your own.")
    return path
