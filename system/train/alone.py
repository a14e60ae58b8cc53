"""A run in one process, without a cluster: for tests, comparisons, and looking at what happens.

The same loop, the same run folder and the same checkpoints as under Ray; evaluation takes its turn
in line.
"""

import logging
import shutil
import tempfile
import time
from pathlib import Path

import psutil
import torch

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import upload
from system.evaluation.evaluator import evaluate
from system.evaluation.studio import Device
from system.foundation import storage
from system.foundation.config import Resolved
from system.foundation.errors import ClusterError
from system.foundation.errors import RolledBack
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.assemble import assemble
from system.train.loop import train
from system.train.report import StepReport
from system.train.retention import prune
from system.train.snapshot import Snapshot
from system.train.state import TrainState

log = logging.getLogger(__name__)


def train_alone(recipe: Recipe) -> str:
    """Train a recipe to its end in this process, or go on with it; the run's folder.

    Taken back for a spike, it goes on by itself. Raises what else `train` raises.
    """
    while True:
        try:
            return _attempt(recipe)
        except RolledBack as error:
            log.warning("%s", error)


def _attempt(recipe: Recipe) -> str:
    folder = storage.join(recipe.run.root, recipe.run.name)
    store = CheckpointStore(storage.join(folder, "checkpoints"))
    manifest = read_manifest(recipe.data.shards)
    storage.write_bytes(
        storage.join(folder, "recipe.yaml"), Resolved(recipe, {}).to_yaml().encode()
    )
    attempt = 1 + sum(event["kind"] == "attempt_started" for event in read_ledger(folder))
    world = World(device_name=str(device_of(recipe)))
    with (
        Ledger(folder, "worker-0", run=recipe.run.name, attempt=attempt) as ledger,
        tempfile.TemporaryDirectory(prefix="train-alone-") as scratch,
    ):
        start = time.monotonic()
        ledger.write("driver_started", process_started=psutil.Process().create_time())
        ledger.write(
            "attempt_started", workers=1, device=world.device.type, compiles=recipe.engine.compile
        )
        state = assemble(recipe, world, manifest, attempt=attempt)
        try:
            train(state, store, _Alone(state, store, ledger, folder), ledger, scratch=Path(scratch))
        finally:
            state.close()
        ledger.write(
            "run_finished",
            images_seen=state.progress.images_seen,
            seconds=time.monotonic() - start,
        )
    return folder


class _Alone:
    """The reporter of a world of one."""

    def __init__(
        self, state: TrainState, store: CheckpointStore, ledger: Ledger, folder: str
    ) -> None:
        self._state = state
        self._store = store
        self._ledger = ledger
        self._folder = folder

    def report(self, report: StepReport) -> None:
        """Write the report down."""
        self._ledger.write("report", images_seen=report.images_seen, values=report.values)

    def settle(self) -> None:
        """Nothing is on its way."""

    def checkpoint(
        self, snapshot: Snapshot, folder: Path, images_seen: int, *, evaluate: bool
    ) -> None:
        """Write and commit the state, evaluate it, and remove what does not stay: all in line."""
        recipe = self._state.recipe
        place = self._store.place(images_seen, self._state.attempt)
        snapshot.write(folder)
        upload(folder, place.url, rank=0, size=1)
        shutil.rmtree(folder)
        self._ledger.write("checkpoint", images_seen=images_seen, checkpoint=place.url)
        if evaluate:
            self._evaluate(place.url, images_seen)
        prune(self._store, recipe, read_ledger(self._folder))

    def _evaluate(self, checkpoint: str, images_seen: int) -> None:
        device: Device = "cuda" if self._state.world.device.type == "cuda" else "cpu"
        start = time.monotonic()
        values = evaluate(checkpoint, self._state.recipe, output=self._folder, device=device)
        waited = time.monotonic() - start
        self._ledger.write("evaluation", images_seen=images_seen, values=values, waited_s=waited)


def device_of(recipe: Recipe) -> torch.device:
    """Where one process computes. Raises ClusterError where the recipe asks for an absent GPU."""
    wanted, there = recipe.cluster.device, torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ClusterError(
            "cluster.device is cuda, but this machine has no GPU that torch sees; set "
            "cluster.device=cpu or auto"
        )
    return torch.device("cuda", 0) if there and wanted != "cpu" else torch.device("cpu")
