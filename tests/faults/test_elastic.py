"""Nodes of a real Ray go and come while a run trains: announced, unannounced, and new ones."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.telemetry.ledger import read_ledger
from tests.faults.nodes import LOOPBACK
from tests.faults.nodes import OBJECT_STORE_BYTES
from tests.faults.nodes import Nodes
from tests.faults.nodes import ray_nodes
from tests.system.launch.conftest import start_program

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

PATIENCE_S = 300
BATCH = 64
EVERY = 50  # updates between checkpoints
NOTICE_S = 30


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return out


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """A Ray with a head, and no node to train on yet."""
    with ray_nodes(tmp_path / "logs") as made:
        yield made


class Trained:
    """A run that goes on while a test takes nodes away and adds others."""

    def __init__(self, nodes: Nodes, shards: str, root: Path, *changes: str) -> None:
        self.folder = root / "elastic"
        self._job = start_program(
            "jobs/simflow_digits.py",
            f"run.root={root}", f"data.shards={shards}", "run.name=elastic",
            f"run.global_batch={BATCH}", f"run.report_every_images={BATCH}",
            "autoencoder.width=8", "flow.width=16", "flow.depths=[1, 1]", "flow.head_width=8",
            "data.workers=1", "evaluation.kind=none", "run.total_images=100000000",
            f"run.checkpoint_every_images={EVERY * BATCH}", *changes,
            WANDB_MODE="disabled", **nodes.environment,
        )  # fmt: skip

    def wait_for(self, kind: str, count: int = 1, *, attempt: int = 1) -> list[dict[str, Any]]:
        """The events of a kind in an attempt, once there are so many."""
        deadline = time.monotonic() + PATIENCE_S
        while len(found := self.events(kind, attempt)) < count:
            assert self._job.poll() is None, self._job.communicate()[0]
            assert time.monotonic() < deadline, [event["kind"] for event in read_ledger(self.url)]
            time.sleep(0.05)
        return found

    def events(self, kind: str, attempt: int | None = None) -> list[dict[str, Any]]:
        """The events of a kind, of one attempt or of all."""
        return [
            event
            for event in read_ledger(self.url)
            if event["kind"] == kind and attempt in (None, event["attempt"])
        ]

    @property
    def url(self) -> str:
        """The run's folder."""
        return str(self.folder)

    def end(self) -> list[int]:
        """End the run, which nothing else would; the updates that each attempt trained in vain."""
        self._job.send_signal(signal.SIGTERM)
        said, _ = self._job.communicate(timeout=PATIENCE_S)
        proof, text = audit(Audit(run=self.url))
        assert proof.holds, f"{text}\n{said}"
        undone = Counter[int]()
        for attempt, start, stop in proof.lineage.undone:
            undone[attempt] += (stop - start) // BATCH
        return [undone[attempt] for attempt in range(1, 1 + proof.lineage.attempts)]


def seen(events: list[dict[str, Any]]) -> int:
    """Where a run stood at the only event of its kind."""
    (event,) = events
    return int(event["images_seen"])


def let_go(nodes: Nodes, leaving: str, run: Trained, attempt: int) -> None:
    """Announce the end of a node, and end it when the time has come."""
    end = time.time() + NOTICE_S
    nodes.drain(leaving, NOTICE_S)
    (standing,) = run.wait_for("standing_by", attempt=attempt)
    assert standing["time"] < end
    time.sleep(max(0.0, end - time.time()))
    nodes.kill(leaving)


# The program `ray`, which else takes the machine's own address for that of loopback.
RAY_ON_LOOPBACK = """
import sys
from ray._private import services
services.resolve_ip_for_localhost = lambda host: host
from ray.scripts.scripts import main
sys.argv[0] = "ray"
main()
"""


@contextmanager
def started_by_hand(nodes: Nodes, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A node as people start it, which SIGTERM announces before it ends."""
    command = [
        sys.executable, "-c", RAY_ON_LOOPBACK, "start", "--block", "--num-cpus=1",
        f"--address={nodes.environment['RAY_ADDRESS']}", f"--node-ip-address={LOOPBACK}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
    ]  # fmt: skip
    told = nodes.environment | {
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(NOTICE_S),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",  # for more nodes, here as there
    }
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=os.environ | told, stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while b"Ray runtime started" not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield process
        finally:
            process.kill()  # where it has not ended; Ray has a process that ends the node then
            process.wait()


def raylet_of(process: int) -> psutil.Process:
    """The process of Ray's that stands for a worker's node."""
    found = psutil.Process(process).parent()
    assert found is not None
    return found


def workers_on(raylet: psutil.Process) -> list[psutil.Process]:
    """The workers that train on a node."""
    found = []
    for child in raylet.children():
        with suppress(psutil.Error):  # it may end meanwhile
            found += [child] * ("RayTrainWorker" in "".join(child.cmdline()))
    return found


def test_a_node_that_goes_as_announced_costs_no_update(
    nodes: Nodes, shards: str, tmp_path: Path
) -> None:
    nodes.add()
    run = Trained(nodes, shards, tmp_path, "cluster.workers=1")
    (first,) = run.wait_for("attempt_started")
    run.wait_for("report", 3)
    nodes.add()
    let_go(nodes, nodes.of(first["process"]), run, 1)
    run.wait_for("report", 3, attempt=2)
    assert seen(run.events("resumed", 2)) == seen(run.events("standing_by", 1))
    assert run.end()[0] == 0
    (notice,) = run.events("notice", 1)
    assert NOTICE_S - 20 < notice["seconds_left"] < NOTICE_S


def test_sigterm_to_a_node_that_ray_start_keeps_announces_its_end(
    nodes: Nodes, shards: str, tmp_path: Path
) -> None:
    with started_by_hand(nodes, tmp_path / "node.log") as going:
        run = Trained(nodes, shards, tmp_path, "cluster.workers=1")
        run.wait_for("report", 3)
        nodes.add()
        going.terminate()
        run.wait_for("standing_by")
        run.wait_for("report", 3, attempt=2)
        assert going.wait(PATIENCE_S) is not None
    assert seen(run.events("resumed", 2)) == seen(run.events("standing_by", 1))
    assert run.end()[0] == 0
    assert [event["cause"] for event in run.events("standing_by", 1)] == ["preemption"]


def test_nodes_come_and_go_and_every_image_counts_once(
    nodes: Nodes, shards: str, tmp_path: Path
) -> None:
    leaving, staying = nodes.add(), nodes.add()
    run = Trained(
        nodes, shards, tmp_path,
        "cluster.workers=2", "cluster.min_workers=1", "cluster.resize_interval_s=5",
    )  # fmt: skip
    run.wait_for("report", 3)
    let_go(nodes, leaving, run, 1)
    run.wait_for("report", 3, attempt=2)
    joined = nodes.add()
    run.wait_for("report", 3, attempt=3)
    nodes.kill(joined)
    run.wait_for("report", 3, attempt=4)
    lost = run.end()

    started = run.events("attempt_started")
    assert [event["workers"] for event in started] == [2, 1, 2, 1], staying
    # Announced, and for a larger group: saved first. Without warning: back to the last checkpoint.
    assert lost[:2] == [0, 0]
    assert [event["cause"] for event in run.events("standing_by")] == ["preemption", "resize"]
    for attempt in (1, 2):
        stood = seen(run.events("standing_by", attempt))
        assert seen(run.events("resumed", attempt + 1)) == stood
    assert lost[2] <= EVERY + 1


@pytest.mark.by_hand
def test_a_node_on_which_workers_fail_is_left_out_of_every_size(
    nodes: Nodes, shards: str, tmp_path: Path
) -> None:
    nodes.add()
    nodes.add()
    run = Trained(
        nodes, shards, tmp_path,
        "cluster.workers=2", "cluster.min_workers=1", "cluster.resize_interval_s=5",
    )  # fmt: skip
    (first,) = run.wait_for("attempt_started")
    bad, raylet = nodes.of(first["process"]), raylet_of(first["process"])
    for attempt in (1, 2):
        run.wait_for("report", 3, attempt=attempt)
        (worker,) = workers_on(raylet)
        worker.kill()
    run.wait_for("report", 3, attempt=3)
    assert workers_on(raylet) == []
    nodes.add()
    run.wait_for("report", 3, attempt=4)
    assert workers_on(raylet) == []
    lost = run.end()

    assert [event["workers"] for event in run.events("attempt_started")] == [2, 2, 1, 2]
    decided = [event.get("without_node") for event in run.events("failure_decided")]
    assert decided[:2] == [None, bad]
    assert {event["node"] for event in run.events("worker_failed")} >= {bad}
    assert lost[2] == 0  # for the node that joined, it saved first
