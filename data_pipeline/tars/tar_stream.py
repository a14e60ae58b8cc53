"""A shard read once from front to back, hashed as it passes, a few parts in memory at a time."""

import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import xxhash
from rich.console import Console
from rich.progress import BarColumn
from rich.progress import DownloadColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn
from rich.progress import TransferSpeedColumn

from data_pipeline.reading.fetch import Fetcher
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.data import Fetching

LINE_EVERY_S = 30.0
_FETCHING = Fetching(concurrency=4)  # so many parts of a shard are in memory, in every thread
R = TypeVar("R")


class TarStream:
    """The bytes of a file of `size` bytes, for reads that only go forward; for one thread."""

    mending = "Copy or write this shard again."

    def __init__(self, url: str, size: int, parts: Iterable[bytes]) -> None:
        self.url = url
        self.size = size
        self._parts = iter(parts)
        self._hash = xxhash.xxh3_128()
        self._start = 0  # of what is held
        self._held = b""

    def read(self, start: int, length: int) -> bytes:
        """Exactly these bytes; what lies before them passes. Raises DataError at the end."""
        assert start >= self._start, "what has passed is gone"
        while start + length > self._start + len(self._held):
            part = next(self._parts, None)
            if part is None:
                raise DataError(
                    f"{self.url}: ends at byte {self._start + len(self._held)}, expected {length} "
                    f"bytes from {start}. {self.mending}"
                )
            self._hash.update(part)
            self._forget(start)
            self._held = self._held + part if self._held else part
        self._forget(start, at_least=len(self._held) // 2)
        first = start - self._start
        return self._held[first : first + length]

    def finish(self) -> str:
        """Let the rest pass. Returns xxh3-128 of the whole file, hexadecimal."""
        for part in self._parts:
            self._hash.update(part)
        return self._hash.hexdigest()

    def _forget(self, start: int, at_least: int = 1) -> None:
        gone = min(start - self._start, len(self._held))
        if gone >= at_least > 0:
            self._held = self._held[gone:]
            self._start += gone


@dataclass(frozen=True, slots=True)
class Opened:
    """A shard that is being read: each stream of it starts at its first byte."""

    name: str
    url: str
    size: int
    fetcher: Fetcher
    on_bytes: Callable[[int], None]

    def stream(self) -> TarStream:
        """The shard from its first byte on."""
        return TarStream(self.url, self.size, self._parts())

    def _parts(self) -> Iterator[bytes]:
        for part in self.fetcher.parts(self.url, self.size):
            self.on_bytes(len(part))
            yield part


def read_all(
    url: str, sizes: Mapping[str, int], read: Callable[[Opened], R], *, threads: int, title: str
) -> Iterator[R]:
    """What `read` makes of each shard, in the order given; `threads` are read at one time.

    Shows a bar on stderr, or a line now and then where that is no terminal. What `read` raises is
    raised here, and no further shard is begun.
    """
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console, total = Console(stderr=True), sum(sizes.values())
    with Progress(TextColumn("{task.description}"), *columns, console=console) as progress:
        task = progress.add_task(title, total=total)

        def read_one(name: str) -> R:
            with closing(Fetcher(_FETCHING)) as fetcher:
                place = storage.join(url, name)
                on_bytes = partial(progress.advance, task)
                return read(Opened(name, place, sizes[name], fetcher, on_bytes))

        pool = ThreadPoolExecutor(threads)
        told = time.monotonic()
        try:
            for found in pool.map(read_one, sizes):
                if not console.is_terminal and time.monotonic() - told >= LINE_EVERY_S:
                    told = time.monotonic()
                    done = progress.tasks[task].completed
                    console.print(f"{title}: {done / 1e9:.1f} of {total / 1e9:.1f} GB")
                yield found
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
