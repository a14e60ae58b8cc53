"""Lives of a run on several workers, for tests that kill one of them or change their number."""

import os
from pathlib import Path

from system.foundation.config import recipe_from_mapping
from system.foundation.recipe import Recipe
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


TOTAL, BATCH = 120, 12  # images: two epochs, ten updates
Case = tuple[int, str]


def resizable(shards: str, root: Path, case: Case) -> Recipe:
    """A run whose batch divides over one, two and three workers: in 4, 2 and 2 passes."""
    made = adversarial(shards, root / f"{case[0]}-{case[1]}", *case)
    # A batch's normalisation is over the images that share a pass. A layer's blows up the latents
    # of an encoder that has learned nothing yet: rounding grew tenfold with every update.
    values = made.model_dump(mode="json")
    values["run"] |= {"global_batch": BATCH, "total_images": TOTAL}
    values["run"] |= {"report_every_images": BATCH, "checkpoint_every_images": 2 * BATCH}
    values["cluster"] |= {"micro_batch": 3}
    values["autoencoder"] |= {"normalise": "none"}
    values["data"]["selection"] |= {"per_class": 6}
    values["engine"] |= {"averaging_decay": 0.99, "further_decays": [0.9, 0.5]}
    # With its usual eps AdamW makes whole steps of gradients that are nothing but rounding.
    values["engine"]["optimiser"] |= {"eps": 1e-4}
    return recipe_from_mapping(values)


def live_for(
    world: World, shards: str, root: Path, cases: list[Case], attempt: int, stop_at: int
) -> dict[Case, Ended]:
    """One attempt at each case's run, until so many images are seen."""
    return {
        case: run_loop(world, resizable(shards, root, case), stop_at=stop_at, attempt=attempt)[0]
        for case in cases
    }
