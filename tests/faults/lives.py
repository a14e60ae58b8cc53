"""A run on two workers, for tests that kill one of them."""

import os
from pathlib import Path

from system.foundation.world import World
from tests.system.train.trials import Ended
from tests.system.train.trials import adversarial
from tests.system.train.trials import run_loop


def live(world: World, shards: str, root: Path, stage: int, precision: str, attempt: int) -> Ended:
    """One attempt, from the newest checkpoint to the end unless it is killed before."""
    (root / f"worker-{attempt}-{world.rank}.pid").write_text(str(os.getpid()))
    recipe = adversarial(shards, root, stage, precision)
    run = recipe.run.model_copy(update={"total_images": 64, "checkpoint_every_images": 16})
    ended, _ = run_loop(world, recipe.model_copy(update={"run": run}), attempt=attempt)
    return ended
