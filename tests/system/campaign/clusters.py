"""A cluster without processes: what is submitted stands there until a test ends it."""

from pathlib import Path

from system.campaign.cluster import Seen
from system.campaign.observation import run_url
from system.campaign.standing import Standing
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import upload
from system.foundation import storage
from system.foundation.errors import ClusterError
from system.launch.pausing import FOLDER
from system.telemetry.ledger import Ledger


class PlainCluster:
    """Keeps jobs as Ray does: a name once, and what has ended stays."""

    def __init__(self, cpus: float = 2.0) -> None:
        self.cpus = cpus
        self.is_silent = False
        self.commands: dict[str, tuple[str, list[str], dict[str, str]]] = {}
        self.seen: dict[str, Seen] = {}
        self.stopped: list[str] = []

    def resources(self):
        self._answer()
        return {"CPU": self.cpus}

    def look(self, job):
        self._answer()
        return self.seen.get(job)

    def submit(self, job, script, arguments, variables):
        self._answer()
        if job not in self.seen:
            self.commands[job] = (script, list(arguments), dict(variables))
            self.seen[job] = Seen(False, None, 0.0)

    def stop(self, job):
        self._answer()
        self.stopped.append(job)
        if not self.seen[job].ended:
            self.seen[job] = Seen(True, None, 1.0)

    def end(self, job: str, code: int | None, seconds: float = 10.0) -> None:
        self.seen[job] = Seen(True, code, seconds, f"ended with {code}")

    def forget(self) -> None:
        """Start the cluster anew: it knows nothing any more."""
        self.seen.clear()

    def _answer(self):
        if self.is_silent:
            raise ClusterError("nobody answers")


def is_asked_to_pause(standing: Standing, job: str) -> bool:
    run = standing.jobs[job].run
    return storage.exists(storage.join(run_url(standing.campaign, run), FOLDER, job))


def leave_behind(url: str, images_seen: int, value: float, scratch: Path) -> None:
    """What a run leaves: a committed checkpoint, and a report at the same images."""
    folder = scratch / f"saved-{images_seen}"
    folder.mkdir(exist_ok=True)
    (folder / "a.pt").write_bytes(b"a")
    upload(folder, CheckpointStore(f"{url}/checkpoints").place(images_seen, 1).url, 0, 1)
    with Ledger(url, "worker-0", run="r", attempt=1) as ledger:
        ledger.write("report", images_seen=images_seen, values={"loss/nll_nats": value})
