"""A run that is killed again and again, each of its lives in processes forked from a warm one.

A worker of Ray needs ten seconds before it trains, nearly all of them to import torch, DeepSpeed
and Ray. Here a server process has imported them before anything is computed, and forks the workers
of every life: what they do from there on is what a worker of Ray does (state, loop, guards, ledger,
uploads behind the loop's back), over gloo, with checkpoints in storage.
"""

import os
import pickle
import random
import shutil
import tempfile
import time
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import upload
from system.foundation.config import recipe_from_mapping
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.train.assemble import assemble
from system.train.guards.deadman import Deadman
from system.train.guards.pulse import Pulse
from system.train.loop import train
from system.train.report import StepReport
from system.train.snapshot import Snapshot
from system.train.state import TrainState
from tests.system.train.trials import adversarial

WORKERS = 2
BATCH = 12
EVERY = 5  # updates between checkpoints
KEPT = 3
PATIENCE_S = 600
# DeepSpeed imports it with its first engine, and with it torch's compiler: most of a life's start.
LATE_IMPORT = "deepspeed.runtime.zero.muon.muon_optimizer"
LONGEST_DELAY_S = 0.05  # between the update that a kill is meant for and the kill: any phase of it


@dataclass(frozen=True, slots=True)
class Case:
    """How a run is sharded and cut, how long it is, and how often it is killed."""

    stage: int
    accumulation: int
    updates: int
    kills: int
    precision: str = "bf16"

    def recipe(self, shards: str, root: Path) -> Recipe:
        """A tiny joint model with running statistics and two averages.

        A discriminator, which is an engine of its own, takes part where an update is one pass.
        """
        made = adversarial(shards, root, self.stage, self.precision)
        values = made.model_dump(mode="json")
        if self.accumulation > 1:
            values["objective"]["adversarial"] = {"kind": "none"}
        values["run"] |= {"global_batch": BATCH, "total_images": BATCH * self.updates}
        values["run"] |= {"report_every_images": BATCH, "checkpoint_every_images": EVERY * BATCH}
        values["cluster"] |= {"micro_batch": BATCH // WORKERS // self.accumulation}
        values["engine"] |= {"averaging_decay": 0.99, "further_decays": [0.9]}
        values["flow"] |= {"label_drop": 0.3}
        return recipe_from_mapping(values)


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL: after which update, of which worker, after how long, and the other after it."""

    update: int
    rank: int
    delay_s: float
    other_s: float


@dataclass(slots=True)
class Story:
    """What became of a run, from its first life to its end."""

    end: dict[str, dict[str, torch.Tensor]]
    lives: int
    seconds: float
    kills: list[Kill] = field(default_factory=list)


def kills(case: Case, seed: int) -> list[Kill]:
    """Where a run is killed: at random updates, in the order in which it comes to them."""
    draws = random.Random(f"{seed} {case}")
    updates = sorted(draws.sample(range(1, case.updates), case.kills))
    return [
        Kill(
            update,
            draws.randrange(WORKERS),
            draws.uniform(0, LONGEST_DELAY_S),
            draws.uniform(0, LONGEST_DELAY_S),
        )
        for update in updates
    ]


def live_through(case: Case, shards: str, root: Path, planned: list[Kill]) -> Story:
    """A run from its beginning to its end, killed as planned and started again at once."""
    server = get_context("forkserver")
    server.set_forkserver_preload([__name__, LATE_IMPORT])
    values, start = case.recipe(shards, root).model_dump(mode="json"), time.monotonic()
    for attempt in range(1, len(planned) + 2):
        kill = planned[attempt - 1] if attempt <= len(planned) else None
        meeting = root / f"meeting-{attempt}"
        meeting.mkdir(parents=True)
        seen = [server.RawValue("q", 0) for _ in range(WORKERS)]
        given = [(rank, values, attempt, str(meeting), seen[rank]) for rank in range(WORKERS)]
        workers = [server.Process(target=_live, args=each) for each in given]
        for worker in workers:
            worker.start()
        try:
            if kill is not None:
                _carry_out(kill, workers, seen)
            else:
                _await_the_end(workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.join()
    end = pickle.loads((meeting / "end").read_bytes())
    return Story(end, attempt, time.monotonic() - start, planned)


def _carry_out(kill: Kill, workers: list[Any], seen: list[Any]) -> None:
    """SIGKILL one worker when it has come so far, and the other soon after, as Ray does."""
    deadline = time.monotonic() + PATIENCE_S
    victim, other = workers[kill.rank], workers[1 - kill.rank]
    while seen[kill.rank].value < kill.update * BATCH:
        codes = [worker.exitcode for worker in workers]
        assert codes == [None] * WORKERS, f"workers ended by themselves: {codes}"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(kill.delay_s)
    victim.kill()
    time.sleep(kill.other_s)
    other.kill()


def _await_the_end(workers: list[Any]) -> None:
    left, deadline = {worker.sentinel: worker for worker in workers}, time.monotonic() + PATIENCE_S
    while left:
        done = wait([*left], timeout=deadline - time.monotonic())
        assert done, "the last life does not come to its end"
        for sentinel in done:
            assert left.pop(sentinel).exitcode == 0


def _live(rank: int, values: dict[str, Any], attempt: int, meeting: str, seen: Any) -> None:
    """One life of one worker: what `system/launch/worker.py` does, without Ray."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}/store",
        rank=rank,
        world_size=WORKERS,
        timeout=timedelta(seconds=PATIENCE_S),
    )
    recipe, world = recipe_from_mapping(values), World(rank, WORKERS)
    url, name = f"{recipe.run.root}/{recipe.run.name}", recipe.run.name
    store, pulse = CheckpointStore(f"{url}/checkpoints"), Pulse()
    with (
        Ledger(url, f"worker-{rank}", run=name, attempt=attempt) as ledger,
        tempfile.TemporaryDirectory(dir=meeting) as scratch,
        Deadman(pulse, recipe.guards.hangs, ledger, rank),
    ):
        state = assemble(recipe, world, read_manifest(recipe.data.shards), attempt=attempt)
        reporter = Background(state, store, ledger)

        def note() -> bool:
            seen.value = state.progress.images_seen
            return False

        train(state, store, reporter, ledger, scratch=Path(scratch), leave=note, pulse=pulse)
        reporter.settle()
    end = {
        "weights": state.engine.weights(),
        "critic": state.critic.weights() if state.critic else {},
    }
    for which, decay in enumerate(recipe.engine.decays):
        end[f"average of decay {decay:g}"] = state.engine.averaged(which)
    if world.is_first:
        (Path(meeting) / "end").write_bytes(pickle.dumps(end))
    dist.barrier()
    dist.destroy_process_group()


class Background:
    """A reporter that saves in a thread while training goes on, and keeps the newest few."""

    def __init__(self, state: TrainState, store: CheckpointStore, ledger: Ledger) -> None:
        self._state, self._store, self._ledger = state, store, ledger
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def report(self, report: StepReport) -> None:
        """Write a report down."""
        self._ledger.write("report", images_seen=report.images_seen, values=report.values)

    def checkpoint(
        self, snapshot: Snapshot, folder: Path, images_seen: int, *, evaluate: bool
    ) -> None:
        """Save this worker's share, no sooner than the one before."""
        self._last = self._thread.submit(self._save, snapshot, folder, images_seen)

    def settle(self) -> None:
        """Wait for what is on its way; raises what it raised."""
        if self._last is not None:
            self._last.result()

    def _save(self, snapshot: Snapshot, folder: Path, images_seen: int) -> None:
        world = self._state.world
        url = self._store.place(images_seen, self._state.attempt).url
        snapshot.write(folder)
        upload(folder, url, world.rank, world.size)
        shutil.rmtree(folder)
        if world.is_first:
            self._ledger.write("checkpoint", images_seen=images_seen, checkpoint=url)
            self._store.prune(lambda whole: whole[-KEPT:])
