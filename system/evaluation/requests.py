"""What the command `jobs/evaluate.py` is asked, and how it answers."""

from typing import Annotated

import torch
from pydantic import Field

from system.evaluation.evaluator import evaluate
from system.evaluation.measured import Measured
from system.evaluation.measured import changed
from system.evaluation.measured import device_of
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_recipe
from system.evaluation.subject import run_of
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import SamplerChanges


class Scoring(SamplerChanges, Measured):
    """A checkpoint to evaluate under the digits protocol."""

    seed: Annotated[int, Field(ge=0)] | None = Field(
        None, description="seed of noise and halves; null takes the recipe's"
    )


def evaluate_to_table(request: Scoring) -> str:
    """Evaluate, write the record, and return the numbers as a table. Raises BadInput.

    Settings other than the run's own need `out`: the run's own record is not written over by them.
    """
    checkpoint = find_checkpoint(request.checkpoint)
    changes = request.changes()
    if request.seed is not None:
        changes["seed"] = request.seed
    if changes and request.out is None:
        raise BadInput(
            f"found {', '.join(changes)} without out; expected out=FOLDER beside settings that "
            "differ from the run's, so that the run's own record stays as it is"
        )
    recipe = asked_of(checkpoint, request.shards)
    assert isinstance(recipe.evaluation, DigitsEvaluation)
    recipe = recipe.model_copy(update={"evaluation": changed(recipe.evaluation, changes)})
    values = evaluate(
        checkpoint,
        recipe,
        output=request.out or run_folder_of(checkpoint),
        threads=request.threads or torch.get_num_threads(),
        device=device_of(request.device),
    )
    width = max(len(name) for name in values)
    return "\n".join(f"{name:<{width}}  {value:.6g}" for name, value in values.items())


def asked_of(checkpoint: str, shards: str | None) -> Recipe:
    """A checkpoint's recipe as it is measured on request: on other shards, and under the digits
    protocol's own settings where it has none."""
    recipe = read_recipe(checkpoint)
    settings = recipe.evaluation
    if not isinstance(settings, DigitsEvaluation):
        settings = DigitsEvaluation(every_images=recipe.run.checkpoint_every_images)
    data = recipe.data.model_copy(update={"shards": shards or recipe.data.shards})
    return recipe.model_copy(update={"data": data, "evaluation": settings})


def run_folder_of(checkpoint_url: str) -> str:
    """The run's folder of a checkpoint that lies in its `checkpoints/`. Raises BadInput."""
    run = run_of(checkpoint_url)
    if run is None:
        raise BadInput(
            f"checkpoint={checkpoint_url} does not lie in a run's checkpoints/; expected "
            "out=FOLDER for the record of a checkpoint that was moved"
        )
    return run
