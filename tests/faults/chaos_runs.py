"""Small runs of the real command for the chaos table, what became of them, and the table's rows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from system.telemetry.ledger import read_ledger
from tests.faults.shocks import struck

ROOT = Path(__file__).parents[2]
JOB = "jobs/simflow_digits.py"
PATIENCE_S = 3000  # where so much else goes on that starting a process takes minutes
BATCH = 64
# Where a run's rows begin in the report; what is above them stands for itself.
HEADING = """| injected | what happened | line in the ledger | seconds to go on |
| --- | --- | --- | --- |
"""


@contextmanager
def variables(**given: str) -> Iterator[None]:
    """The environment of what is started within."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def hooked(folder: Path) -> dict[str, str]:
    """What has workers meet the shocks that are planned in a folder."""
    path = f"{ROOT / 'tests/faults/hook'}{os.pathsep}{ROOT}"
    return {"CHAOS_FOLDER": str(folder), "PYTHONPATH": path, "WANDB_MODE": "disabled"}


def small(root: object, shards: str, name: str, updates: int) -> list[str]:
    """Settings of a small run that saves every four updates."""
    return [
        f"run.root={root}", f"data.shards={shards}", f"run.name={name}",
        f"run.total_images={updates * BATCH}", f"run.global_batch={BATCH}",
        f"run.report_every_images={2 * BATCH}", f"run.checkpoint_every_images={4 * BATCH}",
        "autoencoder.width=8", "flow.width=16", "flow.depths=[1, 1]", "flow.head_width=8",
        "data.workers=1", "evaluation.kind=none", "cluster.workers=2",
        "engine.schedule.warmup_images=0",
    ]  # fmt: skip


@dataclass(frozen=True)
class Lived:
    """A run that has ended: what its ledger says, what it printed, and when it was struck."""

    events: list[dict[str, Any]]
    said: str
    code: int
    times: dict[str, list[float]]
    url: str

    def of(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        """The events of a kind that say so."""
        return [
            event
            for event in self.events
            if event["kind"] == kind
            and all(event.get(name) == value for name, value in wanted.items())
        ]

    def decided(self, cause: str) -> list[str]:
        """What was done about failures of a cause."""
        return [each["action"] for each in self.of("failure_decided", cause=cause)]

    def back_after(self, shock: str) -> str:
        """Seconds from a shock's last blow to the first report of the life after it."""
        last = self.times[shock][-1]
        struck = max(e["attempt"] for e in self.of("attempt_started") if e["time"] < last)
        back = min(e["time"] for e in self.of("report") if e["attempt"] > struck)
        return f"{back - last:.0f} s"


def lived(url: str, job: Any, folder: Path) -> Lived:
    """A run that ends, once it has; its shocks were planned in `folder`."""
    try:
        said, _ = job.communicate(timeout=PATIENCE_S)
    finally:
        job.kill()
    times = struck(folder, url.rpartition("/")[2])
    return Lived(read_ledger(url), said, job.returncode, times, url)


def record(injected: str, happened: str, line: str, back: str) -> None:
    """Put a row into the report's table, in the place of an older one, where one is written."""
    if place := os.environ.get("CHAOS_TABLE"):
        above, heading, table = Path(place).read_text("utf-8").partition(HEADING)
        assert heading, f"{place} has no table with these columns"
        start = f"| {injected} |"
        kept = [row for row in table.splitlines() if not row.startswith(start)]
        rows = [*kept, f"{start} {happened} | {line} | {back} |"]
        Path(place).write_text(above + heading + "".join(f"{row}\n" for row in rows), "utf-8")
