"""How far a pack has come, for people: a bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn

from data_pipeline.pack.pack_shard import PackedShard
from data_pipeline.pack.plan import PlannedShard

LINE_EVERY_S = 30.0


class PackBar:
    """Counts images and bytes; on stderr."""

    def __init__(self, place: str, total: int, done: int) -> None:
        self._console = Console(stderr=True)
        self._total = total
        self._done = done
        self._made = self._bytes = 0
        self._started = self._last_line = time.monotonic()
        self._progress = Progress(
            TextColumn("packing {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task(place, total=total, completed=done, rate="")

    def advance(self, images: int, size: int) -> None:
        """`images` more, of `size` bytes read."""
        self._done += images
        self._made += images
        self._bytes += size
        now = time.monotonic()
        took = max(now - self._started, 1e-3)
        speeds = (self._made / took, self._bytes / 1e6 / took)
        rate = "{} images/s, {} MB/s".format(*map(_short, speeds))
        self._progress.update(self._task, completed=self._done, rate=rate)
        if not self._console.is_terminal and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self._console.print(f"{self._done}/{self._total} images, {rate}")

    def follow(
        self, work: Iterable[PackedShard], planned: Mapping[str, PlannedShard]
    ) -> Iterator[PackedShard]:
        """The same shards; each counts once it has been dealt with."""
        for packed in work:
            yield packed
            self.advance(len(planned[packed.name].entries), packed.read)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()
        if isinstance(error, KeyboardInterrupt):
            self._console.print(
                f"{self._done} of {self._total} images are packed; the same command goes on there"
            )


def _short(speed: float) -> str:
    """Decimals where it is slow: what moves at all is not 0."""
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"
