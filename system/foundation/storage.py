"""Bytes at a url: local folders, object stores and memory behind one handful of verbs.

A write is whole or absent: a local file is written beside its place and renamed, an object store
gets one put. Listings are never cached, so a checkpoint committed elsewhere is seen at once.
`FileNotFoundError` and `FileExistsError` mean what they say and name the url; whatever else goes
wrong is a StorageError.
"""

import errno
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import fsspec

from system.foundation.errors import BadInput
from system.foundation.errors import StorageError
from system.foundation.errors import TrainingSystemError

FULL = (errno.ENOSPC, errno.EDQUOT)  # how a system says that there is no space
_UNFINISHED = ".part"
_WRITE_BUFFER = 2**20
_REMOVERS = 10  # programs that may get into each other's way over one folder


def join(url: str, *parts: str) -> str:
    """The url of something below a folder's url."""
    root = url if url.endswith("://") else url.rstrip("/") or "/"
    tail = "/".join(part.strip("/") for part in parts if part.strip("/"))
    if not tail:
        return root
    return root + tail if root.endswith("/") else f"{root}/{tail}"


def is_local(url: str) -> bool:
    """Whether the url is a path of this machine."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> Path:
    """The path of a local url. Raises BadInput for any other."""
    if not is_local(url):
        raise BadInput(f"{url} is not on this machine; expected a path or a file:// url")
    return Path(url.removeprefix("file://"))


def absolute(url: str) -> str:
    """A url that means the same in every process of this machine."""
    if not is_local(url):
        return url
    return os.path.abspath(os.path.expanduser(local_path(url)))


def open_filesystem(url: str, options: Mapping[str, Any] = MappingProxyType({})) -> tuple[Any, str]:
    """The fsspec filesystem behind a url, made with its own `options`, and the path in it."""
    try:
        filesystem, path = fsspec.url_to_fs(url, use_listings_cache=False, **options)
    except ImportError as error:
        raise BadInput(f"{url} needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise BadInput(f"{url} is not a url that can be read: {error}") from error
    return filesystem, path


def exists(url: str) -> bool:
    """Whether there is a file or a folder."""
    with _named(url, "look for"):
        filesystem, path = open_filesystem(url)
        return bool(filesystem.exists(path))


def size(url: str) -> int:
    """Bytes of a file. Raises FileNotFoundError."""
    with _named(url, "measure"):
        filesystem, path = open_filesystem(url)
        return int(filesystem.info(path)["size"])


def list_names(url: str) -> list[str]:
    """Names of the files and folders in a folder, sorted; none if there is no such folder."""
    with _named(url, "list"):
        filesystem, path = open_filesystem(url)
        try:
            found = filesystem.ls(path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
    # An object store may list the folder itself; a local one files that are still being written.
    paths = [str(each).rstrip("/") for each in found if not _same(str(each), path)]
    return sorted({each.rsplit("/", 1)[-1] for each in paths if not each.endswith(_UNFINISHED)})


def list_sizes(url: str) -> dict[str, int]:
    """Bytes of each file in a folder, by name, in one listing; none if there is no such folder."""
    with _named(url, "list"):
        filesystem, path = open_filesystem(url)
        try:
            found = filesystem.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
    files = [each for each in found if each["type"] == "file"]
    sizes = {each["name"].rsplit("/", 1)[-1]: each["size"] for each in files}
    return {name: int(sizes[name]) for name in sorted(sizes) if not name.endswith(_UNFINISHED)}


def read_bytes(url: str) -> bytes:
    """A whole file. Raises FileNotFoundError."""
    with _named(url, "read"):
        filesystem, path = open_filesystem(url)
        return bytes(filesystem.cat_file(path))


def read_text(url: str) -> str:
    """A whole file of UTF-8 text. Raises FileNotFoundError; StorageError if it is no text."""
    data = read_bytes(url)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(f"{url} is not UTF-8 text: {error}") from error


def read_range(url: str, start: int, length: int) -> bytes:
    """`length` bytes from `start` on. Raises StorageError if the file ends before."""
    if length == 0:
        return b""  # HTTP has no empty range: object stores answer it with the whole file
    with _named(url, "read"):
        filesystem, path = open_filesystem(url)
        data = bytes(filesystem.cat_file(path, start=start, end=start + length))
    if len(data) != length:
        raise StorageError(
            f"{url} ends early: expected {length} bytes from {start}, found {len(data)}"
        )
    return data


def write_bytes(url: str, data: bytes) -> None:
    """Write a whole file, in place of what was there; folders above it are made."""
    with _named(url, "write"):
        if is_local(url):
            _write_local(local_path(url), lambda temporary: temporary.write_bytes(data))
            return
        filesystem, path = open_filesystem(url)
        try:
            filesystem.pipe_file(path, data)
        except FileNotFoundError as error:  # folders are made, buckets are not
            raise BadInput(f"cannot write {url}: its bucket does not exist ({error})") from error


def write_parts(url: str, parts: Sequence[bytes]) -> None:
    """Write a whole file out of its parts, which for a local file are not joined in memory."""
    if not is_local(url):
        write_bytes(url, b"".join(parts))
        return

    def write(temporary: Path) -> None:
        with temporary.open("wb", buffering=_WRITE_BUFFER) as file:
            file.writelines(parts)

    with _named(url, "write"):
        _write_local(local_path(url), write)


def write_stream(url: str, write: Callable[[io.BufferedIOBase], object]) -> None:
    """Write a whole file by way of an open one: content that does not fit into memory.

    For an object store it is first written to a local temporary file.
    """
    if is_local(url):

        def write_to(temporary: Path) -> None:
            with temporary.open("wb") as file:
                write(file)

        with _named(url, "write", OSError):  # other errors are those of the content
            _write_local(local_path(url), write_to)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_stream(f"{folder}/content", write)
        copy_out(Path(folder, "content"), url)


def write_new(url: str, data: bytes) -> None:
    """Write a whole file if there is none, as one step. Raises FileExistsError if there is."""
    with _named(url, "write"):
        if is_local(url):
            _write_local(
                local_path(url), lambda temporary: temporary.write_bytes(data), replace=False
            )
            return
        filesystem, path = open_filesystem(url)
        filesystem.pipe_file(path, data, mode="create")


def copy_in(url: str, path: Path) -> None:
    """Copy one file to a local path, whole or not at all. Raises FileNotFoundError."""
    with _named(url, "read"):
        filesystem, source = open_filesystem(url)
        _write_local(path, lambda temporary: filesystem.get_file(source, str(temporary)))


def copy_out(path: Path, url: str) -> None:
    """Copy one local file to a url, whole or not at all. Raises FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    with _named(url, "write"):
        if is_local(url):
            _write_local(local_path(url), lambda temporary: shutil.copyfile(path, temporary))
            return
        filesystem, target = open_filesystem(url)
        filesystem.put_file(str(path), target)


def remove(url: str) -> None:
    """Remove a file, or a folder with all that is in it; nothing happens if there is none."""
    with _named(url, "remove"):
        filesystem, path = open_filesystem(url)
        for _ in range(_REMOVERS):
            try:
                if filesystem.exists(path):
                    filesystem.rm(path, recursive=True)
                return
            except FileNotFoundError:  # another program removes the same: see what is left
                continue


def free_bytes(url: str) -> int | None:
    """Bytes that still fit at a local url, its folder made or not; None where nobody knows."""
    if not is_local(url):
        return None
    folder = local_path(url).absolute()
    while not folder.exists():
        folder = folder.parent
    with _named(url, "measure the space of"):
        return shutil.disk_usage(folder).free


def _write_local(path: Path, write: Callable[[Path], Any], *, replace: bool = True) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        if not path.parent.is_file():  # it was a folder, and another program has removed it
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent)) from error
        message = f"a file stands where the folder {path.parent} is needed"
        raise NotADirectoryError(errno.ENOTDIR, message) from error
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{_UNFINISHED}")
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, fails if the name is taken
    finally:
        temporary.unlink(missing_ok=True)


def _same(one: str, other: str) -> bool:
    return one.strip("/") == other.strip("/")


@contextmanager
def _named(url: str, verb: str, errors: type[Exception] = Exception) -> Iterator[None]:
    """Give every error of a filesystem the url it concerns."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", url) from error
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, "is there already", url) from error
    except TrainingSystemError:
        raise
    except errors as error:  # each store has errors of its own
        full = isinstance(error, OSError) and error.errno in FULL
        cause = "no space is left" if full else f"{type(error).__name__}: {error}"
        raise StorageError(f"cannot {verb} {url}: {cause}") from error
