"""What one Ray worker runs: its place in the world, the state of a recipe, and the loop.

The second hop from a job to the loop: `jobs/simflow_256.py` starts the driver, the driver has Ray
start this once per worker, and this calls `system/train/loop.py`.
"""

import logging
import os
import platform
import tempfile
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray.train
import ray.train.torch
import torch
from ray.train import CheckpointConsistencyMode
from ray.train import CheckpointUploadMode
from ray.train import ReportedCheckpointStatus
from ray.train.collective import broadcast_from_rank_zero

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import CheckpointStore
from system.evaluation.lag import MORE_KEPT
from system.evaluation.task import GRACE_S
from system.foundation import storage
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation
from system.foundation.world import World
from system.launch.announcements import RayAnnouncements
from system.launch.assignment import Assignment
from system.launch.causes import summary
from system.launch.failures import decided_micro_batch
from system.launch.failures import stamp
from system.launch.failures import with_micro_batch
from system.launch.heap import spare_children
from system.launch.pausing import PauseWatch
from system.launch.saves import Saves
from system.telemetry.ledger import Event
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.assemble import assemble
from system.train.guards.deadman import Deadman
from system.train.guards.pulse import Pulse
from system.train.loop import train
from system.train.report import StepReport
from system.train.snapshot import Snapshot
from system.train.state import TrainState

ASK_TIMEOUT_S = 0.2
# So long a worker that fails lets a save end, which spares what would be done again. Others may be
# gone that take part in it.
SETTLE_S = 30.0


def work(values: dict[str, Any]) -> None:
    """Train a recipe from its newest checkpoint to its end, as one of Ray's workers."""
    spare_children()
    assignment = Assignment.from_mapping(values)
    recipe, world = assignment.recipe, _world(assignment.device)
    torch.set_num_threads(max(1, int(recipe.cluster.cpus_per_worker)))
    attempt, micro_batch = _agree(_standing(assignment.url) if world.is_first else None)
    recipe = with_micro_batch(recipe, micro_batch)
    manifest = read_manifest(recipe.data.shards)
    store = CheckpointStore(storage.join(assignment.url, "checkpoints"))
    with (
        _logged(assignment.url, world.rank),
        Ledger(
            assignment.url, f"worker-{world.rank}", run=recipe.run.name, attempt=attempt
        ) as ledger,
        _told(ledger, world, compiles=recipe.engine.compile) as told,
        PauseWatch(assignment.url) as pauses,
        # Where the machine keeps temporary files: a checkpoint lies there until it is uploaded.
        tempfile.TemporaryDirectory(prefix=f"{recipe.run.name}-", ignore_cleanup_errors=True) as at,
    ):
        pulse, announced = Pulse(), RayAnnouncements(lambda: pauses.is_asked)
        with Deadman(pulse, recipe.guards.hangs, ledger, world.rank):
            state = told.state = assemble(recipe, world, manifest, attempt=attempt)
            reporter = RayReporter(
                recipe, store, world, ledger, attempt,
                on_upload=announced.note_upload, pace=_pace(assignment, world),
            )  # fmt: skip
            try:
                train(
                    state, store, reporter, ledger,
                    scratch=Path(at), pulse=pulse, announcements=announced,
                )  # fmt: skip
            finally:
                with pulse.saving():
                    reporter.settle(SETTLE_S)  # a save that is on its way reads the folder
            # The last upload goes on in a thread of Ray's; the folder must outlive it.
            with pulse.saving():
                announced.settle()


class RayReporter:
    """Brings the loop's news to the ledger, and its checkpoints to Ray.

    `ray.train.report` is a call of all workers that waits for the controller: it is made once for
    every checkpoint and for nothing else.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: CheckpointStore,
        world: World,
        ledger: Ledger,
        attempt: int,
        *,
        on_upload: Callable[[float], None],
        pace: Callable[[float], dict[str, float]] = lambda _: {},
    ) -> None:
        self._recipe = recipe
        self._store = store
        self._world = world
        self._ledger = ledger
        self._attempt = attempt
        self._pace = pace
        self._saves = Saves(store, world, ledger, attempt, on_upload=on_upload)

    def report(self, report: StepReport) -> None:
        """Write a report down, with what its images per second come to on these devices."""
        values = report.values | self._pace(report.values["throughput/images_per_s"])
        self._ledger.write("report", images_seen=report.images_seen, values=values)

    def settle(self, timeout_s: float | None = None) -> None:
        """Return when no checkpoint is on its way, or after so long."""
        self._saves.settle(timeout_s)

    def checkpoint(
        self, snapshot: Snapshot, folder: Path, images_seen: int, *, evaluate: bool
    ) -> None:
        """Hand a state to Ray, which has it saved in the background and then evaluates it."""
        place = self._store.place(images_seen, self._attempt)
        ray.train.report(
            {"images_seen": images_seen},
            checkpoint=ray.train.Checkpoint.from_directory(folder),
            checkpoint_dir_name=place.url.rpartition("/")[2],
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=partial(
                _saved_by, self._saves.begin(snapshot, folder, images_seen)
            ),
            validation=self._validation(images_seen) if evaluate else False,
        )

    def _validation(self, images_seen: int) -> ray.train.ValidationTaskConfig | bool:
        """What Ray is asked to evaluate: nothing while it keeps too many checkpoints for that."""
        settings = self._recipe.evaluation
        assert not isinstance(settings, NoEvaluation), "the loop asks for none then"
        pending = _agree(self._pending() if self._world.is_first else None)
        is_last = images_seen >= self._recipe.run.total_images
        is_wanted = is_last or pending <= settings.waiting + MORE_KEPT
        if self._world.is_first:
            self._tell_of_request(images_seen, pending, is_wanted=is_wanted)
        if not is_wanted:
            return False
        return ray.train.ValidationTaskConfig(
            fn_kwargs={"attempt": self._attempt}, timeout_s=settings.timeout_s + GRACE_S
        )

    def _tell_of_request(self, images_seen: int, pending: int, *, is_wanted: bool) -> None:
        if is_wanted:
            self._ledger.write("evaluation_requested", images_seen=images_seen)
            return
        reason = f"{pending} checkpoints are kept for evaluations before it"
        self._ledger.write("evaluation_dropped", images_seen=images_seen, reason=reason)

    def _pending(self) -> int:
        """Evaluations that wait or run, as far as the controller knows."""
        reported = ray.train.get_all_reported_checkpoints(
            consistency_mode=CheckpointConsistencyMode.COMMITTED, timeout_s=ASK_TIMEOUT_S
        )
        return sum(one.status == ReportedCheckpointStatus.PENDING_VALIDATION for one in reported)


def _saved_by(save: Callable[[], None], _: Any, name: str) -> ray.train.Checkpoint:
    """Runs in Ray's thread on every worker; Ray hears where the checkpoint is."""
    save()
    kept = ray.train.get_context().get_storage()
    return ray.train.Checkpoint(kept.build_checkpoint_path_from_name(name), kept.storage_filesystem)


def next_attempt(events: Iterable[Event]) -> int:
    """The number of this life of the run: one more than the highest in its ledger."""
    started = [e["attempt"] for e in events if e["kind"] == "attempt_started"]
    return 1 + max(started, default=0)


def _standing(url: str) -> tuple[int, int | None]:
    """The number of this attempt, and the micro-batch that failures have made smaller."""
    events = read_ledger(url)
    return next_attempt(events), decided_micro_batch(events)


def _world(device: str) -> World:
    context = ray.train.get_context()
    at = str(ray.train.torch.get_device()) if device == "cuda" else "cpu"
    return World(context.get_world_rank(), context.get_world_size(), at)


def _pace(assignment: Assignment, world: World) -> Callable[[float], dict[str, float]]:
    """What images per second of all workers come to; nothing where no peak is known."""
    counted = assignment.utilisation
    if counted is None or world.device.type != "cuda":
        return lambda _: {}
    name = torch.cuda.get_device_name(world.device)
    return lambda rate: counted.values(rate, world.size, name)


def _agree(value: Any) -> Any:
    """Rank 0's value on every worker, by Ray's own means: there may be no process group yet."""
    return broadcast_from_rank_zero(value)


@dataclass(slots=True)
class _Told:
    """What the end of an attempt is told with, as soon as it is there."""

    state: TrainState | None = None


@contextmanager
def _told(ledger: Ledger, world: World, *, compiles: bool = False) -> Iterator[_Told]:
    """The ledger tells when an attempt begins and how it ends; from where it goes on, `restore`."""
    told = _Told()
    if world.is_first:
        # Before anything can fail, so that the next attempt has a number of its own.
        ledger.write(
            "attempt_started",
            workers=world.size,
            device=world.device.type,
            compiles=compiles,
            host=platform.node(),
            process=os.getpid(),
            process_started=psutil.Process().create_time(),
        )
    try:
        yield told
    except BaseException as error:
        if told.state is not None:
            stamp(error, told.state.progress.images_seen, began=told.state.began)
        ledger.write("attempt_finished", outcome="failed", rank=world.rank, error=summary(error))
        raise
    if world.is_first:
        ledger.write("attempt_finished", outcome="finished")


@contextmanager
def _logged(url: str, rank: int) -> Iterator[None]:
    """Notes and warnings of this worker in the run's folder, where that is on this machine."""
    if not storage.is_local(url):
        yield
        return
    place = storage.local_path(url) / "logs" / f"worker-{rank}.log"
    place.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(place)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("system", "data_pipeline", "py.warnings")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    except BaseException:
        logging.getLogger("system").exception("the worker ends with an error")
        raise
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
