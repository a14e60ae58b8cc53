"""The program of a decoding process: started by a pool, it fills rows until its connection closes.

A fresh interpreter without torch: it starts in a third of a second, inherits no locks and no GPU,
and takes a tenth of the memory of a forked trainer. Messages are JSON.
"""

import ctypes
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from typing import NamedTuple

from data_pipeline.decoding.assembly import Assembled
from data_pipeline.decoding.assembly import Assembler
from data_pipeline.decoding.ring import Ring
from data_pipeline.decoding.ring import RingShape
from data_pipeline.features.feature_set import open_address
from data_pipeline.shards.manifest import Split
from data_pipeline.shards.manifest import open_local
from system.foundation.errors import DataError
from system.foundation.errors import TrainingSystemError
from system.foundation.settings.data import Data

PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


class Setup(NamedTuple):
    """What a process is told first."""

    manifest_file: str
    manifest_url: str
    manifest_digest: str  # of the split
    split: Split
    data: dict[str, Any]
    seed: int
    ring: dict[str, Any]  # a RingShape
    number: int  # of this process in its pool
    features: list[Any] | None = None  # the address of a FeatureSet

    def assembler(self, on_stage: Callable[[int, str], None]) -> Assembler:
        """What fills the rows. Raises DataError."""
        manifest = open_local(Path(self.manifest_file), self.manifest_url).split(self.split)
        if manifest.digest != self.manifest_digest:
            raise DataError(
                f"{self.manifest_file}: this manifest was replaced by another one (digest "
                f"{manifest.digest}, expected {self.manifest_digest}) while it was read. Start "
                "again when it is written."
            )
        features = None if self.features is None else open_address(*self.features)
        return Assembler(manifest, Data.model_validate(self.data), self.seed, on_stage, features)


class Task(NamedTuple):
    """Rows to fill: `rows` positions of the stream from `start` on, into a slot from `row` on."""

    slot: int
    row: int
    start: int
    rows: int
    poison: list[int]


def send(connection: Connection, message: Any) -> None:
    """One message as JSON."""
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> Any:
    """The next message. Raises EOFError where the other side is gone."""
    return json.loads(connection.recv_bytes())


def main(arguments: list[str]) -> int:
    """Serve tasks until the connection closes, or this process has grown too large."""
    connection, descriptor = Connection(int(arguments[0])), int(arguments[1])
    _live_and_die_with_parent(int(arguments[2]))
    try:
        setup = Setup(*receive(connection))
        ring = Ring(RingShape(**setup.ring), descriptor)
        assembler = None
        limit = Data.model_validate(setup.data).worker_memory_bytes
        while True:
            task = Task(*receive(connection))
            try:
                if assembler is None:
                    assembler = setup.assembler(
                        lambda position, text: ring.write_line(setup.number, position, text)
                    )
                reply: dict[str, Any] = {"done": _fill(assembler, ring, task)}
            except Exception as problem:
                reply = {"error": _described(problem)}
            send(connection, [task.slot, task.row, reply])
            if resident_bytes() > limit and gc.collect() + 1 and resident_bytes() > limit:
                send(connection, None)  # says that what is still queued here is for another one
                return 0
    except (EOFError, ConnectionError):
        return 0


def resident_bytes() -> int:
    """Memory of this process that lies in RAM, without what it shares."""
    _, resident, shared = Path("/proc/self/statm").read_text().split()[:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _fill(assembler: Assembler, ring: Ring, task: Task) -> Assembled:
    rows = slice(task.row, task.row + task.rows)
    return assembler.fill(
        task.start,
        ring.pixels[task.slot, rows],
        ring.labels[task.slot, rows],
        frozenset(task.poison),
        {name: array[task.slot, rows] for name, array in ring.features.items()},
    )


def _described(problem: Exception) -> list[str]:
    """An error's class and text; where it is no fault of the data, no class and the whole trace."""
    if isinstance(problem, TrainingSystemError):
        return [type(problem).__name__, str(problem)]
    return ["", "".join(traceback.format_exception(problem))]


def _live_and_die_with_parent(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
