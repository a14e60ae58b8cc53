"""The append-only record of a run: JSON lines, one file per writer, read back as one story.

Every process that has something to say writes its own file under `<run>/ledger/`, so no two
processes share one. What dashboards show is a copy of what stands here.

    ledger = Ledger("runs/digits", "worker-0", run="digits", attempt=1)
    ledger.write("report", images_seen=4096, values={"loss/nll_nats": 0.31})
    for event in read_ledger("runs/digits"):
        ...

Where a disk is full, the last lines take the place of a reserve that each local file has beside it.
A process that dies in the middle of a line leaves a torn one: the next writer begins a new line
and the reader passes over the torn one.
"""

import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from typing import Literal
from typing import Self
from typing import TypeGuard

from system.foundation import storage
from system.foundation.errors import StorageError
from system.telemetry.metrics import unregistered

FOLDER = "ledger"
SUFFIX = ".jsonl"
# Object stores cannot append: a part is written again, whole, with each event until it is full.
EVENTS_PER_PART = 256
# Set aside beside each file, so that a run which a full disk ends can still say so.
RESERVE = ".reserve"
RESERVE_BYTES = 64 * 2**10

Kind = Literal[
    "driver_started",
    "attempt_started",
    "resumed",
    "first_update",
    "report",
    "checkpoint",
    "save_failed",
    "checkpoint_passed_over",
    "evaluation_requested",
    "evaluation",
    "evaluation_dropped",
    "evaluation_failed",
    "skipped_update",
    "rolled_back",
    "positions_left_out",
    "hang",
    "stream_opened",
    "consumed",
    "bad_sample",
    "data_counted",
    "manifest_changed",
    "notice",
    "standing_by",
    "worker_failed",
    "failure_decided",
    "attempt_finished",
    "paused",
    "run_finished",
]
Event = dict[str, Any]

log = logging.getLogger(__name__)


class Ledger:
    """One writer's file in a run's ledger. Safe to use from several threads.

    `run_url` is the run's folder. Locally an event is on its way to the disk when `write` returns,
    and a failing disk raises OSError. On an object store an event that could not be stored is kept
    and stored together with the next; `close` raises if some remain.
    """

    def __init__(self, run_url: str, writer: str, *, run: str, attempt: int = 0) -> None:
        self.run_url = run_url
        self.run = run
        self.attempt = attempt
        self.failed_writes = 0
        self._lock = threading.Lock()
        folder = storage.join(run_url, FOLDER)
        if storage.is_local(folder):
            self._sink: _LocalFile | _Parts = _LocalFile(storage.local_path(folder), writer)
        else:
            self._sink = _Parts(folder, writer)

    def write(self, kind: Kind, **fields: Any) -> None:
        """Append one event; time, run and attempt are filled in."""
        values = fields.get("values")
        if isinstance(values, Mapping):
            unknown = unregistered(values)
            assert not unknown, f"metrics {unknown} are not in system/telemetry/metrics.py"
        event = {
            "time": time.time(),
            "kind": kind,
            "run": self.run,
            "attempt": self.attempt,
            **fields,
        }
        line = json.dumps(event, ensure_ascii=False, default=_number)
        with self._lock:
            self.failed_writes += not self._sink.append(line)

    def close(self) -> None:
        """Store what is still kept in memory, and close."""
        with self._lock:
            self._sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Follower:
    """Reads a run's ledger as it grows: each `poll` returns what is new, in order of time."""

    def __init__(self, run_url: str) -> None:
        self._folder = storage.join(run_url, FOLDER)
        self._read: dict[str, int] = {}
        self.torn_lines = 0

    def poll(self) -> list[Event]:
        """Events written since the last call; a line that is still being written waits.

        A call that raises StorageError has read nothing: the next one begins where it began.
        """
        events: list[Event] = []
        read = dict(self._read)
        for name, size in sorted(storage.list_sizes(self._folder).items()):
            if name.endswith(SUFFIX):
                events += self._new_lines(name, size, read)
        self._read = read
        return sorted(events, key=lambda event: float(event["time"]))

    def _new_lines(self, name: str, size: int, read: dict[str, int]) -> list[Event]:
        url, start = storage.join(self._folder, name), read.get(name, 0)
        if size <= start:
            return []
        text = storage.read_range(url, start, size - start)
        whole = text[: text.rfind(b"\n") + 1]
        read[name] = start + len(whole)
        return [event for line in whole.splitlines() if (event := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> Event | None:
        if not line:
            return None
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if _is_event(event):
            return event
        self.torn_lines += 1
        return None


def read_ledger(run_url: str) -> list[Event]:
    """Every event of the run whose folder this is, in order of time; none if it has no ledger."""
    return Follower(run_url).poll()


def _is_event(found: Any) -> TypeGuard[Event]:
    """Whether it has what every reader asks for; a line of another program's need not."""
    return (
        isinstance(found, dict)
        and isinstance(found.get("time"), int | float)
        and isinstance(found.get("kind"), str)
    )


def _number(value: Any) -> Any:
    """numpy and torch scalars as plain numbers; anything else as its text."""
    return value.item() if hasattr(value, "item") else str(value)


class _LocalFile:
    def __init__(self, folder: Path, writer: str) -> None:
        path = folder / f"{writer}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab+")
        if self._file.tell() > 0:
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
        self._reserve = path.with_suffix(RESERVE)
        with suppress(OSError):
            self._reserve.write_bytes(bytes(RESERVE_BYTES))

    def append(self, line: str) -> bool:
        self._file.write(line.encode() + b"\n")
        while True:
            try:
                self._file.flush()  # what it cannot write stays in its buffer
            except OSError as error:
                if error.errno not in storage.FULL or not self._make_room():
                    raise
            else:
                return True

    def _make_room(self) -> bool:
        """Give up a reserve, this writer's before another's; whether there was one."""
        for reserve in (self._reserve, *self._reserve.parent.glob(f"*{RESERVE}")):
            with suppress(FileNotFoundError):
                reserve.unlink()
                return True
        return False

    def close(self) -> None:
        self._file.close()
        self._reserve.unlink(missing_ok=True)


class _Parts:
    """Numbered part files on an object store; a session begins a part of its own."""

    def __init__(self, folder: str, writer: str) -> None:
        self._folder = folder
        self._writer = writer
        self._part = 1 + max(self._existing_parts(), default=-1)
        self._lines: list[str] = []
        self._stored = True

    def _existing_parts(self) -> list[int]:
        prefix = f"{self._writer}.part-"
        names = [n for n in storage.list_names(self._folder) if n.startswith(prefix)]
        return [int(name.removeprefix(prefix).removesuffix(SUFFIX)) for name in names]

    def append(self, line: str) -> bool:
        self._lines.append(line)
        try:
            self._store()
        except (OSError, StorageError) as error:
            self._stored = False
            log.warning("ledger of %s: %s; kept for the next write", self._writer, error)
            return False
        if len(self._lines) >= EVENTS_PER_PART:
            self._part, self._lines = self._part + 1, []
        return True

    def _store(self) -> None:
        url = storage.join(self._folder, f"{self._writer}.part-{self._part:06d}{SUFFIX}")
        storage.write_bytes(url, "".join(f"{line}\n" for line in self._lines).encode())
        self._stored = True

    def close(self) -> None:
        if not self._stored:
            self._store()
