"""Local copies of Parquet files that lie elsewhere, named by what is in them.

A footer names the columns' digests, so its own digest names the content: a copy made once serves
every process of this user on this machine, and another version never takes its place.
"""

import os
import stat
import tempfile
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


def fetch(url: str) -> Path:
    """A local copy of the Parquet file at `url`: the one that is here already, or a new one.

    Raises FileNotFoundError, and DataError where it is no whole Parquet file.
    """
    size = storage.size(url)
    with closing(Fetcher(Fetching())) as fetcher:
        footer = _footer(fetcher, url, size)
        path = _folder() / f"{xxhash.xxh3_128_hexdigest(footer)}.parquet"
        if not _is_copy(path, footer):
            storage.write_parts(str(path), list(fetcher.parts(url, size)))
            if not _is_copy(path, footer):
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
    if not _is_copy(path, footer):
        storage.write_bytes(str(path), content)
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


def _is_copy(path: Path, footer: bytes) -> bool:
    """Whether the file is there and ends so; what is damaged before is found when it is read."""
    try:
        with path.open("rb") as file:
            file.seek(-len(footer), os.SEEK_END)
            return file.read() == footer
    except OSError:  # not there, or shorter
        return False


def _folder() -> Path:
    """A folder for this user alone; under TMPDIR where that is set."""
    path = Path(tempfile.gettempdir()) / f"shard-manifests-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise BadInput(f"{path} belongs to another user. Set TMPDIR to a folder of your own.")
    return path
