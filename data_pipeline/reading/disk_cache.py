"""Whole shards on a local disk, shared by all processes of a machine, within a budget of bytes.

A shard's file is named by its digest, so any number of runs and urls may share a folder. One
process fills it, beside its place and under a lock, and renames it once its digest holds; the
others do without it until then. The budget counts unfinished files in full, since their space is
taken before they are filled. What the disk does to a file later is found by the samples' digests.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import xxhash

from data_pipeline.reading.fetch import Fetcher
from data_pipeline.reading.fetch import read_spans
from system.foundation.errors import BadInput
from system.foundation.settings.data import DiskCache

IN_USE_S = 60.0  # a shard read so lately stays, or a window larger than the budget would thrash
RETRY_S = 5.0  # until a shard that could not be kept is tried again
_WHOLE, _UNFINISHED, _LOCK = ".shard", ".part", ".lock"
_ANY_DIGEST = "[0-9a-f]" * 32  # the folder may hold files of others too

_log = logging.getLogger(__name__)


class StoredShard(NamedTuple):
    """Where a shard comes from, and what it is: bytes, and xxh3-128 in hexadecimal."""

    url: str
    size: int
    digest: str


class ShardCache:
    """Counts into the fetcher's counters: cache_fills, cache_evictions, cache_corrupt."""

    def __init__(self, settings: DiskCache, fetcher: Fetcher) -> None:
        assert settings.folder is not None, "a cache is opened where there is a folder for one"
        self._folder = Path(settings.folder)
        self._max_bytes = settings.max_bytes
        self._fetcher = fetcher
        self._counters = fetcher.counters
        self._is_filling = True  # until the disk refuses
        self._not_before: dict[str, float] = {}  # by digest; for ever where a shard is damaged
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._unfinished()
        except OSError as problem:
            raise BadInput(
                f"data.cache.folder {self._folder} cannot be written ({problem.strerror}). Name a "
                "folder of a local disk, or set data.cache to null."
            ) from problem

    def read(self, shard: StoredShard, spans: Sequence[tuple[int, int]]) -> list[bytes] | None:
        """Ranges (first byte, number of bytes) of a shard; None where it is not kept.

        The first to ask fills the cache. Bytes may be wrong, or fewer, where the disk failed:
        whoever knows their digests says so by `discard`.
        """
        found = self._read(shard, spans)
        if found is None and self._fill(shard):
            found = self._read(shard, spans)
        return found

    def discard(self, shard: StoredShard) -> None:
        """Throw away a file that does not hold what was put there."""
        self._counters["cache_corrupt"] += 1
        _log.warning("%s is damaged in %s, and read anew", shard.url, self._path(shard, _WHOLE))
        with suppress(OSError), self._locked():
            self._path(shard, _WHOLE).unlink(missing_ok=True)

    def _read(self, shard: StoredShard, spans: Sequence[tuple[int, int]]) -> list[bytes] | None:
        path = self._path(shard, _WHOLE)
        try:
            found = read_spans(path, spans)
        except FileNotFoundError:
            return None
        except OSError:
            self.discard(shard)
            return None
        with suppress(OSError):  # evicted meanwhile, or of another user
            os.utime(path)
        return found

    def _fill(self, shard: StoredShard) -> bool:
        """Whether the shard is there now."""
        if not self._is_filling or time.monotonic() < self._not_before.get(shard.digest, 0.0):
            return False
        self._not_before[shard.digest] = time.monotonic() + RETRY_S
        try:
            descriptor = self._claim(shard)
        except OSError as problem:
            self._stop(problem)
            return False
        if descriptor is None:
            return self._path(shard, _WHOLE).exists()
        is_filled = False
        try:
            is_filled = self._copy(shard, descriptor)
        except OSError as problem:
            self._stop(problem)
        finally:
            if not is_filled:
                self._path(shard, _UNFINISHED).unlink(missing_ok=True)
            os.close(descriptor)
        return is_filled

    def _claim(self, shard: StoredShard) -> int | None:
        """A locked file with room for the shard; None where it is there, or cannot be now."""
        unfinished = self._path(shard, _UNFINISHED)
        with self._locked():
            if self._path(shard, _WHOLE).exists():
                return None
            descriptor = _lock_if_free(unfinished)
            if descriptor is None:
                return None
            try:
                if self._make_room(shard):
                    os.ftruncate(descriptor, 0)
                    os.posix_fallocate(descriptor, 0, shard.size)
                    return descriptor
            except OSError:
                unfinished.unlink()
                os.close(descriptor)
                raise
            unfinished.unlink()
            os.close(descriptor)
            return None

    def _copy(self, shard: StoredShard, descriptor: int) -> bool:
        state = xxhash.xxh3_128()
        place = 0
        for part in self._fetcher.parts(shard.url, shard.size):
            state.update(part)
            view = memoryview(part)
            while view:
                written = os.pwrite(descriptor, view, place)
                place += written
                view = view[written:]
        if state.hexdigest() != shard.digest:
            self._not_before[shard.digest] = float("inf")
            _log.warning("%s differs from its manifest, and is not cached", shard.url)
            return False
        with self._locked():
            self._path(shard, _UNFINISHED).rename(self._path(shard, _WHOLE))
        self._counters["cache_fills"] += 1
        return True

    def _make_room(self, shard: StoredShard) -> bool:
        """Remove the least recently used shards until one more fits; none if that is not enough."""
        own = self._path(shard, _UNFINISHED)
        held = sum(each.size for each in self._unfinished() if each.path != own)
        kept = sorted(_measure(path) for path in self._folder.glob(f"{_ANY_DIGEST}{_WHOLE}"))
        excess = held + sum(each.size for each in kept) + shard.size - self._max_bytes
        leaving = []
        for each in kept:
            if excess <= 0 or time.time() - each.used < IN_USE_S:
                break
            leaving.append(each)
            excess -= each.size
        if excess > 0:
            return False
        for each in leaving:
            each.path.unlink()
            self._counters["cache_evictions"] += 1
        return True

    def _unfinished(self) -> list["_File"]:
        """Files that are being filled; what killed processes left of theirs is removed."""
        found = []
        for path in self._folder.glob(f"{_ANY_DIGEST}{_UNFINISHED}"):
            descriptor = _lock_if_free(path)
            if descriptor is None:
                found.append(_measure(path))
            else:
                path.unlink()
                os.close(descriptor)
        return found

    def _path(self, shard: StoredShard, ending: str) -> Path:
        return self._folder / f"{shard.digest}{ending}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Files come, go and are renamed by one process at a time."""
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _stop(self, problem: OSError) -> None:
        self._is_filling = False
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        _log.warning(
            "data.cache.folder %s %s (%s): shards that are not there yet are read without it",
            self._folder,
            "is full" if full else "cannot be written",
            problem.strerror,
        )


class _File(NamedTuple):
    used: float  # when it was read last
    size: int
    path: Path


def _measure(path: Path) -> _File:
    status = path.stat()
    return _File(status.st_mtime, status.st_size, path)


def _lock_if_free(path: Path) -> int | None:
    """The open and locked file; None where another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
