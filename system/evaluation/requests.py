"""What commands that measure a checkpoint make of what they are asked."""

from system.evaluation.subject import read_recipe
from system.evaluation.subject import run_of
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import DigitsEvaluation


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
