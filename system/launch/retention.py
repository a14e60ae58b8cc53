"""Which checkpoints Ray keeps: the best by what evaluations say, and always the latest.

A checkpoint that waits for its evaluation is kept as well. One that was not evaluated, or not yet,
counts as worse than any that was; so a run that is never evaluated keeps its newest ones.
"""

from typing import Any

import ray.train

from system.evaluation.ruling import ruling_score
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation

# What stands where nothing was measured. Ray writes its list as JSON, which knows no infinity.
WORST = 1e30


def ruling_metric(recipe: Recipe) -> str | None:
    """The number that decides which checkpoints are kept, the lowest being best; None: their age.

    A run that trains no flow is judged by its reconstructions.
    """
    if isinstance(recipe.evaluation, NoEvaluation):
        return None
    if recipe.objective.route == "autoencoder_only":
        return "evaluation/rfid"
    return ruling_score(recipe.evaluation.kind)


def unmeasured(recipe: Recipe) -> dict[str, float]:
    """What is reported of a checkpoint before it is evaluated."""
    metric = ruling_metric(recipe)
    return {} if metric is None else {metric: WORST}


def retention(recipe: Recipe) -> ray.train.CheckpointConfig:
    """Ray's setting for a recipe."""
    ruled: dict[str, Any] = {}
    if metric := ruling_metric(recipe):
        ruled = {"checkpoint_score_attribute": metric, "checkpoint_score_order": "min"}
    return ray.train.CheckpointConfig(num_to_keep=recipe.run.keep_checkpoints, **ruled)
