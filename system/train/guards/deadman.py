"""Ends a worker that hangs, so that it is restarted: in data, storage, the host, or a collective.

A thread looks at the worker's pulse. Where no update was finished for longer than the limit, it
writes the stacks of all threads to the run's `logs/` and a `hang` event to the ledger, and ends the
process with an exit code of its own, which no library's clean-up can delay. Ray then restarts the
group. Every worker has its own: those that wait in a collective for the one that hangs say so.

Should the interpreter itself hang (a library that never lets go of it), faulthandler's timer, which
needs no interpreter, does the same from the outside; it is wound up again with every look.
"""

import faulthandler
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from types import FrameType
from types import TracebackType
from typing import Self

from system.foundation import storage
from system.foundation.settings import guards as settings
from system.telemetry.ledger import Ledger
from system.train.guards.pulse import Pulse
from system.train.guards.pulse import Reading

EXIT_HUNG = 70
STDERR = 2  # as a descriptor: Ray puts something in the place of sys.stderr
# What may hang as well while the end is written down.
WRITING_S = 20.0
LOOKS_PER_LIMIT = 20
MOST_LOOK_S = 5.0
COLLECTIVES = ("distributed_c10d.py", os.path.join("deepspeed", "comm"))


def limit_of(reading: Reading, hangs: settings.Hangs) -> float:
    """Seconds that what a worker is at may take."""
    match reading.stage:
        case "start":
            return hangs.start_s
        case "save":
            return hangs.save_s
        case _:
            return max(hangs.least_s, hangs.typical_updates * (reading.typical_s or 0.0))


def overdue(reading: Reading, now: float, hangs: settings.Hangs) -> str | None:
    """What hangs, in words; None where nothing does, as far as one can know."""
    limit, waited = limit_of(reading, hangs), now - reading.since
    if waited <= limit:
        return None
    return f"no update finished for {waited:,.0f} s, of which {limit:,.0f} s are allowed"


def stage_of(reading: Reading, threads: Iterable[FrameType]) -> str:
    """Where it hangs: "collective" if one of its threads stands in one, else its stage."""
    for innermost in threads:
        frame: FrameType | None = innermost
        while frame is not None:
            if any(part in frame.f_code.co_filename for part in COLLECTIVES):
                return "collective"
            frame = frame.f_back
    return reading.stage


class Deadman:
    """Looks at a worker's pulse until it is closed."""

    def __init__(
        self,
        pulse: Pulse,
        hangs: settings.Hangs,
        ledger: Ledger,
        rank: int,
        *,
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        self._pulse = pulse
        self._hangs = hangs
        self._ledger = ledger
        self._rank = rank
        self._leave = leave
        self._closed = threading.Event()
        # Open before disks and descriptors run out.
        self._stacks = tempfile.TemporaryFile("w+")  # noqa: SIM115
        least = min(hangs.least_s, hangs.start_s, hangs.save_s)
        self._look_s = min(MOST_LOOK_S, least / LOOKS_PER_LIMIT)
        self._thread = threading.Thread(target=self._run, name="deadman", daemon=True)

    def __enter__(self) -> Self:
        if self._hangs.on_hang == "restart":
            self._wind_up(self._pulse.read())
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(MOST_LOOK_S)
        faulthandler.cancel_dump_traceback_later()
        self._stacks.close()

    def _run(self) -> None:
        while not self._closed.wait(self._look_s):
            reading = self._pulse.read()
            late = overdue(reading, time.monotonic(), self._hangs)
            if late is not None:
                self._end(reading, late)
                return
            self._wind_up(reading)

    def _wind_up(self, reading: Reading) -> None:
        """Have faulthandler end the process should this thread not come to do it."""
        beyond = limit_of(reading, self._hangs) + self._hangs.least_s
        faulthandler.dump_traceback_later(beyond, exit=True, file=STDERR)

    def _end(self, reading: Reading, late: str) -> None:
        faulthandler.cancel_dump_traceback_later()
        stage = stage_of(reading, sys._current_frames().values())
        faulthandler.dump_traceback(self._stacks, all_threads=True)
        self._stacks.seek(0)
        stacks = self._stacks.read()
        print(f"worker {self._rank} hangs ({stage}): {late}\n{stacks}", file=sys.stderr, flush=True)
        # The disk, the store or the ledger's lock may be what hangs.
        writer = threading.Thread(target=self._write, args=(stage, late, stacks), daemon=True)
        writer.start()
        writer.join(WRITING_S)
        self._leave(EXIT_HUNG)

    def _write(self, stage: str, late: str, stacks: str) -> None:
        name = f"hang-{self._ledger.attempt}-worker-{self._rank}.txt"
        self._ledger.write("hang", rank=self._rank, stage=stage, reason=late, stacks=f"logs/{name}")
        storage.write_bytes(storage.join(self._ledger.run_url, "logs", name), stacks.encode())
