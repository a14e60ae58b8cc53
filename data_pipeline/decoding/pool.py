"""Decoding processes that fill slots of a ring: restarted if they die, ended with their owner.

A task is a pure function of its positions, so what a dead process had before it is simply given out
again. A sample over which a process dies twice is left out as a bad one.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections import deque
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait
from typing import Any

from data_pipeline.decoding import decoding_process
from data_pipeline.decoding.assembly import Assembled
from data_pipeline.decoding.decoding_process import Setup
from data_pipeline.decoding.decoding_process import Task
from data_pipeline.decoding.decoding_process import receive
from data_pipeline.decoding.decoding_process import send
from data_pipeline.decoding.image_reader import NOWHERE
from data_pipeline.decoding.image_reader import BadEntry
from data_pipeline.decoding.ring import Line
from data_pipeline.decoding.ring import Ring
from data_pipeline.features.feature_set import FeatureSet
from data_pipeline.images.resample import resampler
from data_pipeline.order.order import Order
from data_pipeline.order.selection import choose
from data_pipeline.shards.manifest import Manifest
from system.foundation import errors
from system.foundation.errors import DataError
from system.foundation.errors import StalledError
from system.foundation.settings.data import Data

DEATHS_OVER_A_SAMPLE = 2
DEATHS_WITHOUT_PROGRESS = 7  # beside one of each process, as when all are killed at once
END_TIMEOUT_S = 2.0

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Process:
    """One decoding process, and the tasks that it has not answered."""

    number: int
    popen: subprocess.Popen[bytes]
    connection: Connection
    tasks: dict[tuple[int, int], Task] = field(default_factory=dict)
    unsent: deque[Task] = field(default_factory=deque)  # of them, as the connection was full

    @property
    def rows(self) -> int:
        return sum(task.rows for task in self.tasks.values())

    def can_be_sent(self) -> bool:
        """Whether the connection takes a task at once (or is closed, so that it is lost)."""
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLOUT)
        return bool(poll.poll(0))

    def end(self, timeout_s: float) -> int:
        """Close the connection and wait for the process, then kill it; its exit code."""
        self.connection.close()
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


class Pool:
    """Processes around one ring. Tasks go out at once; answers come in whatever order."""

    def __init__(
        self,
        manifest: Manifest,
        data: Data,
        seed: int,
        ring: Ring,
        features: FeatureSet | None = None,
    ) -> None:
        self.restarts: Counter[str] = Counter()  # by cause
        self._manifest = manifest
        self._data = data
        self._setup = Setup(
            manifest_file="",
            manifest_url=manifest.url,
            manifest_digest=manifest.digest,
            split=manifest.shards[0].split,
            data=data.model_dump(mode="json"),
            seed=seed,
            ring=asdict(ring.shape),
            number=0,
            features=None if features is None else features.address(),
        )
        self.ring = ring
        self._deaths: Counter[int] = Counter()  # by position of the stream
        self._deaths_in_a_row = 0
        resampler()  # built here, if nowhere yet, so that the processes do not all build it
        self._processes = [self._start(number) for number in range(ring.shape.processes)]

    def submit(self, tasks: Iterable[Task]) -> None:
        """Give tasks to the processes that have least to do."""
        for task in tasks:
            self._give(min(self._processes, key=lambda each: each.rows), task)

    def collect(self) -> list[tuple[Task, Assembled | Exception]]:
        """Wait for answers, and return all that are there: rows, or what stood in their way.

        Raises StalledError where none comes for `data.stall_timeout_s`, DataError where processes
        die again and again.
        """
        deadline = time.monotonic() + self._data.stall_timeout_s
        while True:
            done = self._answers(max(0.0, deadline - time.monotonic()))
            if done:
                return done
            if time.monotonic() >= deadline:
                raise StalledError(self._stall())

    def poll(self) -> list[tuple[Task, Assembled | Exception]]:
        """The answers that are there already."""
        return self._answers(0.0)

    def close(self) -> None:
        """End the processes, now."""
        for process in self._processes:
            process.connection.close()
        for process in self._processes:
            process.end(END_TIMEOUT_S if not process.tasks else 0.0)
        self._processes = []

    @property
    def processes(self) -> list[int]:
        """The identifiers of the processes that live."""
        return [process.popen.pid for process in self._processes]

    def _answers(self, timeout_s: float) -> list[tuple[Task, Assembled | Exception]]:
        for process in self._processes:
            self._send(process)
        by_connection = {process.connection: process for process in self._processes}
        done: list[tuple[Task, Assembled | Exception]] = []
        for ready in wait(list(by_connection), timeout_s):
            process = by_connection[ready]  # type: ignore[index]
            try:
                message = receive(process.connection)
            except (EOFError, OSError):  # the latter where it ends within a message
                self._replace_dead(process)
                continue
            if message is None:
                self._replace_grown(process)
            else:
                slot, row, reply = message
                done.append((process.tasks.pop((slot, row)), _opened(reply)))
                self._deaths_in_a_row = 0
        return done

    def _start(self, number: int) -> _Process:
        file = str(self._manifest.local_file())  # at its place another one may lie by now
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [str(theirs.fileno()), str(self.ring.descriptor), str(os.getpid())]
            with _without_interrupts():
                popen = subprocess.Popen(
                    [sys.executable, "-P", "-m", decoding_process.__name__, *arguments],
                    pass_fds=(theirs.fileno(), self.ring.descriptor),
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(_path())},
                )
        self.ring.write_line(number, NOWHERE, "starting")
        process = _Process(number, popen, Connection(ours.detach()))
        with suppress(ConnectionError):  # it died already, which shows when it is waited for
            send(process.connection, self._setup._replace(number=number, manifest_file=file))
        return process

    def _give(self, process: _Process, task: Task) -> None:
        process.tasks[task.slot, task.row] = task
        process.unsent.append(task)
        self._send(process)

    def _send(self, process: _Process) -> None:
        """Send what the connection takes at once. Waiting for a process that waits to be heard
        would never end; one that has so many tasks answers in time.
        """
        poison = [p for p, deaths in self._deaths.items() if deaths >= DEATHS_OVER_A_SAMPLE]
        while process.unsent and process.can_be_sent():
            with suppress(ConnectionError):  # likewise
                send(process.connection, process.unsent.popleft()._replace(poison=poison))

    def _replace_dead(self, dead: _Process) -> None:
        code = dead.end(END_TIMEOUT_S)
        line = self.ring.read_line(dead.number)
        at = self._described(line)
        what = f"signal {-code}" if code < 0 else f"exit code {code}"
        _log.warning("decoding process %d died (%s) while %s", dead.popen.pid, what, at)
        self.restarts[f"died: {what}"] += 1
        self._deaths_in_a_row += 1
        if line.position != NOWHERE:
            self._deaths[line.position] += 1
            if self._deaths[line.position] == DEATHS_OVER_A_SAMPLE:
                self._deaths_in_a_row = 0  # to know which sample it is, is progress
        if self._deaths_in_a_row > DEATHS_WITHOUT_PROGRESS + len(self._processes):
            raise DataError(
                f"{self._setup.manifest_url}: decoding processes died {self._deaths_in_a_row} "
                f"times in a row without a batch ({what}, while {at}). What they wrote "
                "stands above; too little memory is the usual cause: lower data.workers."
            )
        self._replace(dead)

    def _replace_grown(self, grown: _Process) -> None:
        grown.end(END_TIMEOUT_S)
        self.restarts["grown past data.worker_memory_bytes"] += 1
        self._replace(grown)

    def _replace(self, old: _Process) -> None:
        new = self._start(old.number)
        self._processes[self._processes.index(old)] = new
        for task in old.tasks.values():
            self._give(new, task)

    def _described(self, line: Line) -> str:
        """What a process is at, with the sample where it is at one."""
        if line.position == NOWHERE:
            return line.text
        choice = choose(self._manifest, self._data.selection, self._setup.seed)
        counts = [shard.samples for shard in self._manifest.shards]
        order = Order(counts, self._setup.seed, self._data.window_shards, choice)
        sample = int(order.samples(line.position, line.position + 1)[0])
        return f"{line.text} {self._manifest.key(sample)} ({self._manifest.place(sample)})"

    def _stall(self) -> str:
        now = time.monotonic()
        lines = [(process, self.ring.read_line(process.number)) for process in self._processes]
        at = "; ".join(
            f"process {process.popen.pid} is {self._described(line)} since "
            f"{now - line.since:.0f} s, {len(process.tasks)} tasks before it"
            for process, line in lines
        )
        return (
            f"{self._setup.manifest_url}: no batch for {self._data.stall_timeout_s:g} s "
            f"(data.stall_timeout_s). {at}. Look whether that storage answers, or allow more time."
        )


def _opened(reply: dict[str, Any]) -> Assembled | Exception:
    if "error" in reply:
        name, text = reply["error"]
        problem: Exception = getattr(errors, name)(text) if name else RuntimeError(text)
        return problem
    keys, digests, bad, counted = reply["done"]
    pairs = [(epoch, digest) for epoch, digest in digests]
    return Assembled(keys, pairs, [BadEntry(*entry) for entry in bad], counted)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """What starts here is deaf to Ctrl-C, which comes to all: while it imports, it would complain
    at length.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _path() -> list[str]:
    """Where this process finds modules, for one that is started elsewhere."""
    return [entry or os.getcwd() for entry in sys.path]
