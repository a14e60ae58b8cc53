"""Byte ranges of shards out of any storage; what lies close together is asked for together.

    fetcher = Fetcher(data.fetching)
    first, second = fetcher.ranges([("s3://b/a.tar", 512, 9000), ("s3://b/a.tar", 9600, 800)])

Those two lie at most `gap_bytes` apart, so one request brings both. Local files are read at once,
by the calling thread; whatever is further away is read by `remote`.
"""

import os
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

from data_pipeline.reading.remote import COPY_AGAIN
from data_pipeline.reading.remote import Remote
from data_pipeline.reading.remote import Span
from data_pipeline.reading.remote import lost
from system.foundation import storage
from system.foundation.errors import StorageError
from system.foundation.settings.data import Fetching

Wanted = tuple[str, int, int]  # url, first byte, number of bytes

MERGED_BYTES = 8 * 2**20  # one request asks for at most so many, unless one range is longer


class Fetcher:
    """Reads ranges of files. Counts requests, retries, hedges, hedges_won, timeouts and bytes.

    `on_stage` hears what is being waited for, also from another thread.
    """

    def __init__(
        self, settings: Fetching, on_stage: Callable[[str], None] = lambda _: None
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._on_stage = on_stage
        self._remote = Remote(settings, self.counters, on_stage)

    def ranges(self, wanted: Sequence[Wanted]) -> list[bytes]:
        """The bytes of each wanted range, in the order asked, each of exactly its length.

        Raises DataError where a file is missing or may not be read, StorageError where it cannot
        be read now or ends too early. Both name url and byte range.
        """
        found: list[bytes] = [b""] * len(wanted)
        far: list[int] = []
        near: dict[str, list[int]] = {}
        for index, (url, _, length) in enumerate(wanted):
            if url in near:
                near[url].append(index)
            elif storage.is_local(url):
                near[url] = [index]
            elif length > 0:  # HTTP has no empty range: stores answer it with the whole file
                far.append(index)
        for url, indices in near.items():
            spans = [wanted[index][1:] for index in indices]
            for index, data in zip(indices, self._read_local(url, spans), strict=True):
                found[index] = data
        if far:
            merged = merge([wanted[index] for index in far], self._settings.gap_bytes)
            contents = self._remote.read([span for span, _ in merged])
            for (span, members), content in zip(merged, contents, strict=True):
                for member in members:
                    _, start, length = wanted[far[member]]
                    first = start - span.start
                    found[far[member]] = content[first : first + length]
        return found

    def parts(self, url: str, size: int) -> Iterator[bytes]:
        """A whole file of `size` bytes, a few big parts at a time. Raises as `ranges` does."""
        step = MERGED_BYTES * min(self._settings.concurrency, 8)
        for first in range(0, size, step):
            starts = range(first, min(first + step, size), MERGED_BYTES)
            yield from self.ranges(
                [(url, start, min(MERGED_BYTES, size - start)) for start in starts]
            )

    def whole(self, url: str, size: int) -> bytes:
        """A whole file of `size` bytes. Raises as `ranges` does."""
        return b"".join(self.parts(url, size))

    def close(self) -> None:
        """Forget the connections."""
        self._remote.close()

    def _read_local(self, url: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        start, length = spans[0]
        span = Span(url, start, start + length)
        more = f" and {len(spans) - 1} more ranges" if len(spans) > 1 else ""
        self._on_stage(f"reading {span}{more}")
        try:
            found = read_spans(storage.local_path(url), spans)
        except OSError as problem:
            if isinstance(problem, FileNotFoundError | PermissionError):
                raise lost(span, problem) from problem
            raise StorageError(f"cannot read {span}: {problem.strerror}") from problem
        for (start, length), data in zip(spans, found, strict=True):
            if len(data) != length:
                raise StorageError(
                    f"{Span(url, start, start + length)}: the file ends early, {len(data)} bytes "
                    f"were there. {COPY_AGAIN}"
                )
            self.counters["bytes"] += length
        self.counters["requests"] += len(spans)
        return found


def merge(wanted: Sequence[Wanted], gap: int) -> list[tuple[Span, list[int]]]:
    """Spans that hold all wanted ranges, with the indices of those in each.

    Ranges of one url at most `gap` bytes apart share a span, up to MERGED_BYTES.
    """
    merged: list[tuple[Span, list[int]]] = []
    for index in sorted(range(len(wanted)), key=wanted.__getitem__):
        url, start, length = wanted[index]
        if merged:
            span, members = merged[-1]
            stop = max(span.stop, start + length)
            is_near = url == span.url and start - span.stop <= gap
            if is_near and (stop <= span.stop or stop - span.start <= MERGED_BYTES):
                members.append(index)
                merged[-1] = (Span(url, span.start, stop), members)
                continue
        merged.append((Span(url, start, start + length), [index]))
    return merged


def read_spans(path: str | os.PathLike[str], spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Ranges (first byte, number of bytes) of a local file, shorter where it ends."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return [os.pread(descriptor, length, start) for start, length in spans]
    finally:
        os.close(descriptor)
