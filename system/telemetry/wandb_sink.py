"""A mirror of the ledger in Weights & Biases, which may be slow, absent or broken at no cost.

The sink has a thread and a bounded queue of its own, and wandb a process of its own: the run never
waits for it, its end no longer than `close` is told to, and what fails is counted. Without a key
the mirror is kept offline in the run's folder (`wandb sync` sends it later).
"""

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from system.foundation.settings.run import Wandb
from system.telemetry import wandb_mirror
from system.telemetry.ledger import Event
from system.telemetry.wandb_mirror import Mode
from system.telemetry.wandb_mirror import Target
from system.telemetry.wandb_mirror import row

QUEUE_LENGTH = 1000
KILLED_S = 2.0  # until what was killed is gone

log = logging.getLogger(__name__)


def resolve_mode(settings: Wandb, environment: Mapping[str, str]) -> Mode:
    """What `auto` means here: online where there is a key, else offline."""
    if settings.mode != "auto":
        return settings.mode
    return "online" if environment.get("WANDB_API_KEY") else "offline"


class WandbSink:
    """Mirrors events into one wandb run. `failures` counts what did not arrive."""

    def __init__(self, settings: Wandb, run_url: str, config: Mapping[str, Any]) -> None:
        self.failures = 0
        self.mode = resolve_mode(settings, os.environ)
        self._target = Target(run_url, settings.project, self.mode, dict(config))
        self._queue: queue.Queue[Event | None] = queue.Queue(QUEUE_LENGTH)
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        if self.mode != "disabled":
            self._thread.start()

    def show(self, event: Event) -> None:
        """Hand over one event; returns at once. A full queue loses the event and counts it."""
        if self.mode == "disabled":
            return
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.failures += 1

    def close(self, timeout_s: float = 20.0) -> None:
        """Send what is queued, but wait no longer than `timeout_s`: then wandb is ended."""
        if self.mode == "disabled":
            return
        deadline = time.monotonic() + timeout_s
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            self.failures += 1
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._thread.join(KILLED_S)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILLED_S)
        if self.failures:
            log.warning("wandb: %d things were not mirrored; the ledger has them", self.failures)

    def _work(self) -> None:
        lost = self._begin()
        if lost is not None:
            self.failures += 1
            log.warning("wandb did not start, the run goes on without it: %s", lost)
        while (event := self._queue.get()) is not None:
            if row(event):
                self._count(self._ask(event) if lost is None else lost)
        if lost is None:
            self._count(self._end())
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with suppress(OSError):
                    pipe.close()

    def _count(self, lost: str | None) -> None:
        if lost is not None:
            self.failures += 1
            log.debug("wandb lost something: %s", lost)

    def _begin(self) -> str | None:
        """Start wandb's process; why that failed, None where it did not."""
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", wandb_mirror.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        except OSError as error:
            return str(error)
        return self._ask(asdict(self._target))

    def _ask(self, told: Mapping[str, Any]) -> str | None:
        """Hand a line over and wait for its answer: why it was lost, None where it was not."""
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(told, default=str) + "\n")
            self._process.stdin.flush()
            return self._answer()
        except (OSError, ValueError) as error:
            return f"its process does not answer ({error})"

    def _end(self) -> str | None:
        """Have it finish, which its process ends with."""
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            lost = self._answer()
        except (OSError, ValueError) as error:
            lost = f"its process does not answer ({error})"
        self._process.wait()
        return lost

    def _answer(self) -> str | None:
        """Raises ValueError where it ends instead."""
        assert self._process is not None
        assert self._process.stdout is not None
        lost = json.loads(self._process.stdout.readline())
        return None if lost is None else str(lost)
