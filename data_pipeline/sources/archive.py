"""A tar read in place: what lies where in it, found by jumping from header to header.

Nothing is unpacked. A member is a stretch of the archive's bytes, so a tar inside a tar is walked
the same way, between its own bounds.
"""

import os
import stat
import tarfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from data_pipeline.sources.patience import patiently
from system.foundation import storage
from system.foundation.errors import DataError

BLOCK = tarfile.BLOCKSIZE
REMOTE_BLOCK = 4096  # headers of photographs lie further apart: more would move what nobody reads
_EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_LONGEST_EXTENSION = 2**20  # bytes of a long name or of extended headers: beyond is no tar

DOWNLOAD_AGAIN = (
    "Download or copy this archive again, and compare its checksum with the published one."
)


class Stretches(Protocol):
    """A file that gives any stretch of its bytes."""

    url: str
    size: int
    mending: str  # what to do where it is damaged

    def read(self, start: int, length: int) -> bytes:
        """Exactly these bytes. Raises DataError where the file ends before."""


class LocalStretches:
    """A file of this machine; safe among threads."""

    mending = DOWNLOAD_AGAIN

    def __init__(self, url: str) -> None:
        self.url = url
        self._descriptor = os.open(storage.local_path(url), os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        about = os.fstat(self._descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise DataError(f"{url}: not a file; expected a tar file.")
        self.size = about.st_size

    def read(self, start: int, length: int) -> bytes:
        """Exactly these bytes."""
        data = os.pread(self._descriptor, length, start)
        if len(data) != length:
            raise _ends_early(self, start, length)
        return data


class RemoteStretches:
    """A file of an object store: one request for each stretch."""

    mending = DOWNLOAD_AGAIN

    def __init__(self, url: str) -> None:
        self.url = url
        self.size = patiently(url, lambda: storage.size(url))

    def read(self, start: int, length: int) -> bytes:
        """Exactly these bytes."""
        if start + length > self.size:
            raise _ends_early(self, start, length)
        return patiently(self.url, lambda: storage.read_range(self.url, start, length))


class Buffered:
    """Small reads of a file that mostly go forward, out of larger blocks; for one thread."""

    def __init__(self, file: Stretches, block: int = REMOTE_BLOCK) -> None:
        self.url = file.url
        self.size = file.size
        self.mending = file.mending
        self._file = file
        self._block = block
        self._start = 0
        self._data = b""

    def read(self, start: int, length: int) -> bytes:
        """Exactly these bytes."""
        first = start - self._start
        if first < 0 or first + length > len(self._data):
            wanted = max(length, min(self._block, self.size - start))
            self._data, self._start, first = self._file.read(start, wanted), start, 0
        return self._data[first : first + length]


@dataclass(frozen=True, slots=True)
class Member:
    """What one header says: a name, and where the content lies in the archive."""

    name: str
    start: int
    length: int
    is_file: bool  # and not a link, folder or device


def open_stretches(url: str) -> Stretches:
    """The file at `url`. Raises DataError where there is none."""
    try:
        return LocalStretches(url) if storage.is_local(url) else RemoteStretches(url)
    except (FileNotFoundError, PermissionError) as problem:
        raise DataError(f"{url}: cannot be read ({problem}); expected a tar file.") from problem


def walk(file: Stretches, start: int = 0, stop: int | None = None) -> Iterator[Member]:
    """All members between two places of a file, in order.

    Raises DataError for a damaged header, for content that reaches beyond `stop`, and where the
    mark of a tar's end is missing: a tar that was cut off must not pass for a short one.
    """
    end = file.size if stop is None else stop
    position = start
    said: dict[str, str] = {}  # by extended headers, about the next member
    while position + BLOCK <= end:
        head = file.read(position, BLOCK)
        if head == bytes(BLOCK):
            return
        member = _parse(file, head, position)
        content, size = position + BLOCK, int(said.get("size", member.size))
        if size < 0 or content + size > end:
            beyond = f"{member.name!r} has {size} bytes, {content + size - end} more than there are"
            raise _damaged(file, position, beyond)
        position = content + -(-size // BLOCK) * BLOCK
        if member.type in _EXTENSIONS:
            said |= _said(file, member, content)
        elif member.type not in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
            yield Member(said.get("path", member.name), content, size, member.isreg())
            said = {}
    raise _damaged(file, position, f"the mark of its end is missing before byte {end}")


def _parse(file: Stretches, head: bytes, position: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError as problem:
        gzipped = head[:2] == b"\x1f\x8b"
        why = "it is compressed; unpack the gzip layer first" if gzipped else str(problem)
        raise _damaged(file, position, why) from problem


def _said(file: Stretches, member: tarfile.TarInfo, content: int) -> dict[str, str]:
    """What an extended header says of the next member's path and size."""
    if member.size > _LONGEST_EXTENSION:
        raise _damaged(file, content, f"an extended header of {member.size} bytes")
    data = file.read(content, member.size)
    if member.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": _text(data.rstrip(b"\0"))}
    found = {}
    while data:
        digits, _, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        name, is_there, value = data[len(digits) + 1 : length].partition(b"=")
        if not is_there or length > len(data) or (name == b"size" and not value[:-1].isdigit()):
            raise _damaged(file, content, "an extended header that is none")
        if name in (b"path", b"size"):
            found[_text(name)] = _text(value.removesuffix(b"\n"))
        data = data[length:]
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _damaged(file: Stretches, position: int, why: str) -> DataError:
    return DataError(
        f"{file.url}: damaged tar at byte {position} of {file.size} ({why}). {file.mending}"
    )


def _ends_early(file: Stretches, start: int, length: int) -> DataError:
    return DataError(
        f"{file.url}: ends at byte {file.size}, expected {length} bytes from {start}: it changed "
        "or was cut off. Download or copy it again."
    )
