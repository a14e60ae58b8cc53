"""The process that mirrors one run into Weights & Biases; whatever wandb does, it does here.

wandb waits at the end of a program for a service of its own, without a limit: of a service that has
died it may wait for ever. So it has an interpreter of its own, which can be ended, and which ends
itself where one of wandb's calls takes too long. It reads lines of JSON, first a `Target`, then
events, and answers each line, and the end of them, with a line: null, or why something was lost.
`wandb_sink` starts it.
"""

import hashlib
import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from typing import Literal
from typing import TextIO

from PIL import Image

from system.foundation import storage
from system.telemetry.exported_metrics import EXPORTED
from system.telemetry.ledger import Event
from system.telemetry.metrics import METRICS

CLOCK = "images_seen"
# What is mirrored: whole runs and campaigns are not, only what a run's ledger tells.
AREAS = sorted({metric.area for metric in METRICS.values()} - {metric.area for metric in EXPORTED})
# No call of wandb's takes longer where it works; a driver has long stopped waiting then.
LONGEST_CALL_S = 300

Mode = Literal["online", "offline", "disabled"]


@dataclass(frozen=True, slots=True)
class Target:
    """What is mirrored, and how."""

    run_url: str
    project: str
    mode: Mode
    config: Mapping[str, Any]


def run_id(run_url: str) -> str:
    """The same run is the same run there, whoever resumes it: its name, and a mark of its place."""
    name = run_url.rstrip("/").rsplit("/", 1)[-1]
    return f"{name}-{hashlib.blake2s(run_url.rstrip('/').encode(), digest_size=4).hexdigest()}"


def row(event: Event) -> dict[str, float]:
    """What to log for an event: its values under the one clock; empty for other events."""
    if event["kind"] not in ("report", "evaluation", "goodput"):
        return {}
    return {CLOCK: event["images_seen"], **event["values"]}


def mirror(lines: Iterator[str], answers: TextIO) -> None:
    """Mirror what the lines tell of, and answer each of them and their end."""
    target = Target(**json.loads(next(lines)))
    begun: list[Any] = []
    _answered(lambda: begun.append(_begun(target)), answers)
    if not begun:
        return
    for line in lines:
        _answered(partial(_log, begun[0], target, json.loads(line)), answers)
    _answered(begun[0].finish, answers)


def _answered(call: Callable[[], object], answers: TextIO) -> None:
    """Make one of wandb's calls, and say what became of it. One that hangs ends this process."""
    signal.alarm(LONGEST_CALL_S)
    lost = None
    try:
        call()
    except Exception as error:  # whatever wandb raises, it goes on with what comes next
        lost = f"{type(error).__name__}: {error}"
    signal.alarm(0)
    answers.write(json.dumps(lost) + "\n")
    answers.flush()


def _begun(target: Target) -> Any:
    import wandb

    url = target.run_url
    local = storage.is_local(url)
    folder = (
        Path(storage.local_path(url)) / "logs"
        if local
        else Path(tempfile.gettempdir()) / f"wandb-{run_id(url)}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=target.project,
        name=url.rstrip("/").rsplit("/", 1)[-1],
        id=run_id(url),
        resume="allow",
        mode=target.mode,
        dir=str(folder),
        config=dict(target.config),
        settings=wandb.Settings(console="off", silent=True, disable_git=True),
    )
    run.define_metric(CLOCK)
    for area in AREAS:
        run.define_metric(f"{area}/*", step_metric=CLOCK)
    return run


def _log(run: Any, target: Target, event: Event) -> None:
    values: dict[str, Any] = row(event)
    if event["kind"] == "evaluation":
        url = storage.join(target.run_url, "samples", f"{event['images_seen']:012d}.png")
        if storage.exists(url):
            import wandb

            values["samples"] = wandb.Image(Image.open(io.BytesIO(storage.read_bytes(url))))
    run.log(values)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the driver, which ends this
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what wandb prints is no answer
    mirror(iter(sys.stdin), answers)
    os._exit(0)  # past wandb's hooks at the end of a program


if __name__ == "__main__":
    _main()
