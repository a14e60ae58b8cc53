"""Nodes of a real Ray go and come while a run trains: announced, unannounced, and new ones."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.telemetry.ledger import read_ledger
from tests.faults.nodes import Nodes
from tests.faults.nodes import ray_nodes
from tests.system.launch.conftest import start_program

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

PATIENCE_S = 300
BATCH = 64
NOTICE_S = 30


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return out


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """A Ray with a head, and no node to train on yet."""
    with ray_nodes() as made:
        yield made


class Trained:
    """A run that goes on while a test takes nodes away and adds others."""

    def __init__(self, nodes: Nodes, shards: str, root: Path, *changes: str) -> None:
        self.folder = root / "elastic"
        self._said = root / "said.log"
        self._job = start_program(
            "jobs/simflow_digits.py",
            f"run.root={root}", f"data.shards={shards}", "run.name=elastic",
            f"run.global_batch={BATCH}", f"run.report_every_images={BATCH}",
            "autoencoder.width=8", "flow.width=16", "flow.depths=[1, 1]", "flow.head_width=8",
            "data.workers=1", "evaluation.kind=none", *changes,
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

    def end(self) -> int:
        """Wait for the run's end; how many updates were trained twice, as the audit finds."""
        said, _ = self._job.communicate(timeout=PATIENCE_S)
        assert self._job.returncode == 0, said
        proof, text = audit(Audit(run=self.url))
        assert proof.holds, text
        return sum(stop - start for _, start, stop in proof.lineage.undone) // BATCH


def test_a_node_that_goes_as_announced_costs_no_update(
    nodes: Nodes, shards: str, tmp_path: Path
) -> None:
    nodes.add()
    run = Trained(
        nodes, shards, tmp_path, "cluster.workers=1", "run.total_images=64000",
        "run.checkpoint_every_images=16000",
    )  # fmt: skip
    (first,) = run.wait_for("attempt_started")
    run.wait_for("report", 3)
    nodes.add()
    leaving, started = nodes.of(first["process"]), time.time()
    nodes.drain(leaving, NOTICE_S)
    run.wait_for("standing_by")
    assert time.time() < started + NOTICE_S
    time.sleep(max(0.0, started + NOTICE_S - time.time()))
    nodes.kill(leaving)
    (resumed,) = run.wait_for("resumed", attempt=2)
    (waiting,) = run.events("standing_by", 1)
    assert resumed["images_seen"] == waiting["images_seen"]
    assert run.end() == 0
    (notice,) = run.events("notice", 1)
    assert NOTICE_S - 15 < notice["seconds_left"] < NOTICE_S
