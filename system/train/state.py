"""What a run is at one moment: its engines and its progress, saved together and taken up together.

Nothing else needs saving: the data's order, every random draw and every schedule are functions of
the seed and the images seen.
"""

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from data_pipeline.features.feature_set import FeatureSet
from data_pipeline.shards.manifest import Manifest
from system.alignment.teacher import Teacher
from system.engine.checkpoints import AVERAGED
from system.engine.checkpoints import STATE
from system.engine.checkpoints import read_state
from system.engine.deepspeed_engine import Engine
from system.foundation.batch_cut import cut_batch
from system.foundation.config import recipe_digest
from system.foundation.config import recipe_from_mapping
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe
from system.foundation.versions import versions
from system.foundation.world import World
from system.objectives.perceptual import PerceptualLoss
from system.train.changes import changed_data
from system.train.changes import frozen_changes
from system.train.guards.gradients import GradientTaps
from system.train.snapshot import Snapshot

# What a checkpoint says for people to read; one that does not is as good.
TOLD = frozenset({"zero_stage", "micro_batch", "recipe_digest", "versions"})


@dataclass(slots=True)
class Progress:
    """How far a run is. The one clock is `images_seen`."""

    images_seen: int = 0
    updates: int = 0  # that every engine took part in
    skipped_updates: int = 0  # that one of the engines, or both, stood still in
    skipped_in_a_row: int = 0


@dataclass(slots=True, eq=False)
class TrainState:
    """Everything one update reads and moves, on one worker."""

    recipe: Recipe
    world: World
    manifest: Manifest  # of the training split
    engine: Engine  # of the JointModel
    critic: Engine | None = None  # of the discriminator, where the objective has one
    perceptual: PerceptualLoss | None = None  # frozen, outside of every engine
    teacher: Teacher | None = None  # alike; None as well where its tokens come with the images
    features: FeatureSet | None = None  # what comes with the images
    taps: GradientTaps | None = None  # at the parts of the joint model
    attempt: int = 1
    progress: Progress = field(default_factory=Progress)
    began: int = 0  # the images seen where this attempt took the run up

    @property
    def micro_batch(self) -> int:
        """Images of one pass on one worker."""
        return cut(self.recipe, self.world)[0]

    @property
    def accumulation(self) -> int:
        """Passes of one update on one worker."""
        return cut(self.recipe, self.world)[1]

    def hold(self) -> Snapshot:
        """This worker's share as it is, copied into host memory. All workers must take part."""
        statement = partial(self._statement, replace(self.progress))
        return Snapshot(
            self.engine.hold(len(self.recipe.engine.decays)),
            None if self.critic is None else self.critic.hold(0),
            self.recipe.engine.decays,
            statement if self.world.is_first else None,
        )

    def save(self, folder: Path) -> None:
        """Write this worker's share into a local folder. All workers must take part."""
        self.hold().write(folder)

    def restore(self, folder: Path) -> list[str]:
        """Take up what `save` wrote, on as many workers or on more or fewer; what of the data has
        changed, where the recipe lets that be.

        Raises CheckpointError where it belongs to another model or to other data, or does not come
        out of a change of size as it was.
        """
        saved = read_state(str(folder))
        problems = self._mismatches(saved)
        if problems:
            listed = "".join(f"\n  {problem}" for problem in problems)
            raise CheckpointError(
                f"the checkpoint in {folder} does not fit this run:{listed}\n"
                "Take the changes back, or give the new run another name (run.name=...)"
            )
        self.engine.restore(folder / "engine")
        if self.critic is not None:
            self.critic.restore(folder / "critic")
        if saved["world_size"] != self.world.size:
            self._check_average(folder, saved["world_size"])
        self.progress = Progress(**{name: saved[name] for name in asdict(self.progress)})
        self.began = self.progress.images_seen
        return changed_data(saved, self.manifest)

    def _check_average(self, folder: Path, workers: int) -> None:
        """Compare the average, gathered from its new places, with the file that has it whole.

        A DeepSpeed that cut its flat tensors in another way would mix the weights up in silence.
        """
        gathered = self.engine.averaged()
        mixed_up: list[str] = []
        if self.world.is_first:
            whole = safetensors.torch.load_file(folder / AVERAGED)
            mixed_up = [name for name in whole if not torch.equal(gathered[name], whole[name])]
        if mixed_up := self.world.broadcast(mixed_up[:3]):
            raise CheckpointError(
                f"the state that {workers} workers saved in {folder} is another one on "
                f"{self.world.size}: the averages of {', '.join(mixed_up)} differ from {AVERAGED}. "
                f"Go on with cluster.workers={workers}; is this the DeepSpeed that saved it?"
            )

    def close(self) -> None:
        """Let go of the engines."""
        self.engine.close()
        if self.critic is not None:
            self.critic.close()

    def _statement(self, progress: Progress) -> dict[str, Any]:
        return {
            **asdict(progress),
            "attempt": self.attempt,
            "world_size": self.world.size,
            "zero_stage": self.recipe.engine.zero_stage,
            "micro_batch": self.micro_batch,
            "seed": self.recipe.run.seed,
            "recipe_digest": recipe_digest(self.recipe),
            "versions": versions(),
            "manifest_digest": self.manifest.digest,
            "manifest": self.manifest.heads(),
            "recipe": self.recipe.model_dump(mode="json"),
        }

    def _mismatches(self, saved: Mapping[str, Any]) -> list[str]:
        missing = sorted(self._statement(self.progress).keys() - saved.keys() - TOLD)
        if missing:
            return [f"{STATE} lacks {', '.join(missing)}"]
        problems = frozen_changes(recipe_from_mapping(saved["recipe"]), self.recipe)
        if self.recipe.data.on_changed_manifest == "refuse":
            problems += changed_data(saved, self.manifest)
        return problems


def cut(recipe: Recipe, world: World) -> tuple[int, int]:
    """How the global batch is cut: images per pass of a worker, and passes per update.

    Raises ClusterError where it does not divide over the workers.
    """
    return cut_batch(recipe.run.global_batch, world.size, recipe.cluster.micro_batch)
