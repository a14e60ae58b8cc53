"""Tiny real runs on several workers: every ZeRO stage and precision, and each cut in two."""

import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from torch import Tensor

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import upload
from system.foundation.config import recipe_from_mapping
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.train.assemble import assemble
from system.train.loop import open_training_stream
from system.train.loop import train
from system.train.report import StepReport
from system.train.snapshot import Snapshot
from system.train.state import TrainState
from system.train.update import update
from tests.system.alignment.teachers import write_teacher

STAGES = (0, 1, 2, 3)
UPDATES = 4
CRITIC = {"kind": "patchgan", "width": 8, "layers": 1, "start_images": 8}

TINY: dict[str, Any] = {
    "run": {
        "name": "tiny",
        "total_images": 64,
        "global_batch": 8,
        "report_every_images": 16,
        "checkpoint_every_images": 32,
    },
    "cluster": {"device": "cpu"},
    "data": {"image_size": 8, "image_channels": 1, "classes": 10, "crop": "none", "workers": 0},
    "autoencoder": {
        "kind": "convolutional",
        "width": 8,
        "multipliers": [1, 2],
        "blocks_per_level": 1,
        "latent_channels": 2,
        "attention": False,
    },
    "flow": {"width": 16, "depths": [1, 1], "head_width": 8},
    "engine": {"precision": "fp32", "optimiser": {"learning_rate": 1e-3}},
}


def tiny(shards: str, root: Path, **sections: dict[str, Any]) -> Recipe:
    """A tiny recipe on the digits; a given section's keys go before the tiny ones."""
    names = TINY.keys() | sections.keys()
    made = {name: TINY.get(name, {}) | sections.get(name, {}) for name in names}
    made["data"] |= {"flip": False, "shards": shards}
    made["run"] |= {"root": str(root)}
    return recipe_from_mapping(made)


@dataclass
class Trace:
    """The updates of one run, and what the weights are at the end (on rank 0)."""

    losses: list[float]
    gradient_norms: list[float]
    weights: dict[str, Tensor]
    averages: dict[str, Tensor]


@dataclass
class Ended:
    """The end of a run of the loop."""

    values: dict[int, dict[str, float]]  # of the reports, by images seen
    weights: dict[str, Tensor]
    averages: dict[str, Tensor]
    critic: dict[str, Tensor]
    updates: int


@dataclass
class Trials:
    """Everything two workers tried."""

    traces: dict[tuple[int, str, int], Trace] = field(default_factory=dict)
    whole: dict[tuple[int, str], Ended] = field(default_factory=dict)
    in_two: dict[tuple[int, str], Ended] = field(default_factory=dict)
    # Where each was cut: its state there, and what was saved.
    cut: dict[tuple[int, str], tuple[Ended, Path]] = field(default_factory=dict)


def run_trials(world: World, shards: str, folder: Path) -> Trials:
    """All of them, one after the other."""
    trials = Trials()
    for precision in ("fp32", "bf16"):
        for stage in STAGES:
            for passes in (1, 2) if (stage, precision) == (2, "fp32") else (2,):
                recipe = acceptance(shards, folder, stage, precision, passes)
                trials.traces[stage, precision, passes] = trace(world, recipe)
            if precision == "fp32" or stage == 2:
                case = (stage, precision)
                trials.whole[case], trials.in_two[case], trials.cut[case] = _cut_in_two(
                    world, shards, folder, stage, precision
                )
    return trials


def acceptance(shards: str, root: Path, stage: int, precision: str, passes: int) -> Recipe:
    """What is compared with the plain loop: labels drop, gradients are clipped, weights decay."""
    return tiny(
        shards,
        root,
        cluster={"device": "cpu", "workers": 2, "micro_batch": 8 // 2 // passes},
        engine={
            "zero_stage": stage,
            "precision": precision,
            "gradient_clip": 2.0,
            "optimiser": {"learning_rate": 1e-3, "weight_decay": 0.1},
        },
        flow={"width": 16, "depths": [1, 1], "head_width": 8, "label_drop": 0.5},
    )


def trace(world: World, recipe: Recipe) -> Trace:
    """Some updates of a fresh state."""
    state = assemble(recipe, world, read_manifest(recipe.data.shards))
    losses, norms = [], []
    with _ledger(world, recipe) as ledger:
        stream = open_training_stream(state, ledger)
        for _ in range(UPDATES):
            outcome = update(state, stream)
            losses.append(world.mean(outcome.means["loss/total"]).item())
            norms.append(outcome.gradient_norm)
    done = Trace(losses, norms, state.engine.weights(), state.engine.averaged())
    state.close()
    return done


class Collector:
    """A reporter that keeps the reports and commits every checkpoint at once."""

    def __init__(self, state: TrainState, store: CheckpointStore) -> None:
        self.state, self.store = state, store
        self.values: dict[int, dict[str, float]] = {}
        self.evaluated: dict[int, bool] = {}

    def report(self, report: StepReport) -> None:
        self.values[report.images_seen] = report.values

    def settle(self) -> None:
        pass

    def checkpoint(
        self, snapshot: Snapshot, folder: Path, images_seen: int, *, evaluate: bool
    ) -> None:
        snapshot.write(folder)
        world, place = self.state.world, self.store.place(images_seen, self.state.attempt)
        upload(folder, place.url, world.rank, world.size)
        world.barrier()
        self.evaluated[images_seen] = evaluate


def run_loop(
    world: World,
    recipe: Recipe,
    *,
    stop_at: int | None = None,
    attempt: int = 1,
    prepare: Callable[[TrainState], object] = lambda state: None,
) -> tuple[Ended, Collector]:
    """The loop on a recipe, up to its end or until it is asked to leave."""
    state = assemble(recipe, world, read_manifest(recipe.data.shards), attempt=attempt)
    prepare(state)
    collector = Collector(
        state, CheckpointStore(f"{recipe.run.root}/{recipe.run.name}/checkpoints")
    )
    with _ledger(world, recipe, attempt) as ledger, tempfile.TemporaryDirectory() as scratch:
        train(
            state,
            collector.store,
            collector,
            ledger,
            scratch=Path(scratch),
            leave=lambda: state.progress.images_seen == stop_at,
        )
    ended = Ended(
        collector.values,
        state.engine.weights(),
        state.engine.averaged(),
        state.critic.weights() if state.critic is not None else {},
        state.progress.updates,
    )
    state.close()
    return ended, collector


def aligned(shards: str, root: Path, stage: int, precision: str) -> Recipe:
    """A run with a tiny teacher: reverse alignment in both blocks, activations recomputed."""
    teacher, _ = write_teacher(str(root / "teacher.safetensors"))
    alignment = {
        "kind": "features",
        "teacher": teacher.model_dump(mode="json"),
        "places": [[0, 1], [-1, 1]],
        "strategy": "reverse",
        "head_width": 16,
    }
    made = acceptance(shards, root, stage, precision, passes=2)
    objective = tiny(shards, root, objective={"alignment": alignment}).objective
    flow = made.flow.model_copy(update={"checkpoint_activations": True})
    return made.model_copy(update={"objective": objective, "flow": flow})


def run_aligned(world: World, shards: str, root: Path) -> dict[tuple[int, str], Trace]:
    """Some updates with alignment, by stage and precision."""
    cases = ((0, "fp32"), (2, "fp32"), (3, "fp32"), (3, "bf16"))
    return {case: trace(world, aligned(shards, root, *case)) for case in cases}


def adversarial(shards: str, root: Path, stage: int, precision: str) -> Recipe:
    """A discriminator, running statistics, two passes an update, a report after each."""
    return tiny(
        shards,
        root,
        run={"total_images": 32, "report_every_images": 8},
        cluster={"device": "cpu", "workers": 2, "micro_batch": 2},
        autoencoder={"normalise": "batch"},
        engine={"zero_stage": stage, "precision": precision},
        objective={"adversarial": CRITIC},
    )


def _cut_in_two(
    world: World, shards: str, folder: Path, stage: int, precision: str
) -> tuple[Ended, Ended, tuple[Ended, Path]]:
    whole, _ = run_loop(
        world, adversarial(shards, folder / f"whole-{stage}-{precision}", stage, precision)
    )
    recipe = adversarial(shards, folder / f"cut-{stage}-{precision}", stage, precision)
    first, collector = run_loop(world, recipe, stop_at=16)
    second, _ = run_loop(world, recipe, attempt=2)
    second.values = first.values | second.values
    return whole, second, (first, Path(collector.store.place(16, attempt=1).url))


@contextmanager
def _ledger(world: World, recipe: Recipe, attempt: int = 1) -> Iterator[Ledger]:
    url, name = f"{recipe.run.root}/{recipe.run.name}", recipe.run.name
    with Ledger(url, f"worker-{world.rank}", run=name, attempt=attempt) as ledger:
        yield ledger
