"""A mirror of the ledger in Weights & Biases, which may be slow, absent or broken at no cost.

The sink has a thread and a bounded queue of its own: the run never waits for it, and what fails is
counted. Without a key the mirror is kept offline in the run's folder (`wandb sync` sends it later).
"""

import hashlib
import io
import logging
import os
import queue
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import Literal

from PIL import Image

from system.foundation import storage
from system.foundation.settings.run import Wandb
from system.telemetry.exported_metrics import EXPORTED
from system.telemetry.ledger import Event
from system.telemetry.metrics import METRICS

CLOCK = "images_seen"
QUEUE_LENGTH = 1000
# What is mirrored: whole runs and campaigns are not, only what a run's ledger tells.
AREAS = sorted({metric.area for metric in METRICS.values()} - {metric.area for metric in EXPORTED})

Mode = Literal["online", "offline", "disabled"]

log = logging.getLogger(__name__)


def resolve_mode(settings: Wandb, environment: Mapping[str, str]) -> Mode:
    """What `auto` means here: online where there is a key, else offline."""
    if settings.mode != "auto":
        return settings.mode
    return "online" if environment.get("WANDB_API_KEY") else "offline"


def run_id(run_url: str) -> str:
    """The same run is the same run there, whoever resumes it: its name, and a mark of its place."""
    name = run_url.rstrip("/").rsplit("/", 1)[-1]
    return f"{name}-{hashlib.blake2s(run_url.rstrip('/').encode(), digest_size=4).hexdigest()}"


def row(event: Event) -> dict[str, float]:
    """What to log for an event: its values under the one clock; empty for other events."""
    if event["kind"] not in ("report", "evaluation", "goodput"):
        return {}
    return {CLOCK: event["images_seen"], **event["values"]}


class WandbSink:
    """Mirrors events into one wandb run. `failures` counts what did not arrive."""

    def __init__(self, settings: Wandb, run_url: str, config: Mapping[str, Any]) -> None:
        self.failures = 0
        self.mode = resolve_mode(settings, os.environ)
        self._project = settings.project
        self._run_url = run_url
        self._config = dict(config)
        self._queue: queue.Queue[Event | None] = queue.Queue(QUEUE_LENGTH)
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
        """Send what is queued, but wait no longer than `timeout_s`."""
        if self.mode == "disabled":
            return
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            self.failures += 1
        self._thread.join(timeout_s)
        if self.failures:
            log.warning("wandb: %d things were not mirrored; the ledger has them", self.failures)

    def _work(self) -> None:
        run: Any = None
        try:
            run = self._start()
        except Exception as error:  # whatever wandb raises, the run goes on without its mirror
            self.failures += 1
            log.warning("wandb did not start, the run goes on without it: %s", error)
        while (event := self._queue.get()) is not None:
            if run is None:
                self.failures += 1
                continue
            try:
                self._mirror(run, event)
            except Exception as error:  # a mirror that breaks must not stop the run
                self.failures += 1
                log.debug("wandb lost an event: %s", error)
        if run is not None:
            self._finish(run)

    def _finish(self, run: Any) -> None:
        try:
            run.finish()
        except Exception as error:  # its process may have died meanwhile
            self.failures += 1
            log.debug("wandb did not finish: %s", error)

    def _start(self) -> Any:
        import wandb

        local = storage.is_local(self._run_url)
        folder = (
            Path(storage.local_path(self._run_url)) / "logs"
            if local
            else Path(tempfile.gettempdir()) / f"wandb-{run_id(self._run_url)}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=self._project,
            name=self._run_url.rstrip("/").rsplit("/", 1)[-1],
            id=run_id(self._run_url),
            resume="allow",
            mode=self.mode,
            dir=str(folder),
            config=self._config,
            settings=wandb.Settings(console="off", silent=True, disable_git=True),
        )
        run.define_metric(CLOCK)
        for area in AREAS:
            run.define_metric(f"{area}/*", step_metric=CLOCK)
        return run

    def _mirror(self, run: Any, event: Event) -> None:
        values: dict[str, Any] = row(event)
        if not values:
            return
        if event["kind"] == "evaluation":
            url = storage.join(self._run_url, "samples", f"{event['images_seen']:012d}.png")
            if storage.exists(url):
                import wandb

                values["samples"] = wandb.Image(Image.open(io.BytesIO(storage.read_bytes(url))))
        run.log(values)
