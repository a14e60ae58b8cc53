"""The runs of a comparison: trained once, found again by name, and read from their ledgers."""

import math
from dataclasses import dataclass

from system.evaluation.evaluator import evaluate
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_recipe
from system.foundation import storage
from system.foundation.config import flatten
from system.foundation.config import recipe_digest
from system.foundation.config import resolve
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.telemetry.ledger import Event
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.alone import train_alone
from system.train.comparison.arms import Arm
from system.train.comparison.request import CONFIGS
from system.train.comparison.request import Comparison


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has seen its last image."""

    folder: str
    recipe: Recipe
    seconds: float  # wall time of its last attempt, its evaluation included
    values: dict[str, float]  # of its last evaluation
    before: "Finished | None" = None  # the run that its autoencoder is from


def finished_run(arm: Arm, seed: int, request: Comparison) -> Finished:
    """The run of an arm with a seed, trained first where it is not there (and what it starts from).

    Latents of a pretrained autoencoder are scaled to unit variance, as in latent diffusion: no
    prior pulls them to a scale of the flow's liking. Raises what `train_alone` raises.
    """
    overrides, before = [], None
    if arm.pretrained is not None:
        before = finished_run(arm.pretrained, seed, request)
        overrides.append(f"autoencoder.weights={before.folder}")
        overrides.append(f"autoencoder.latent_scale={1 / latent_std(before.folder):.4g}")
    recipe = recipe_of(arm, seed, request, overrides)
    folder = storage.join(recipe.run.root, recipe.run.name)
    if _last(folder, "run_finished") is None:
        train_alone(recipe)
    _check_recipe(folder, recipe)
    if _last(folder, "evaluation") is None:  # an attempt before this one fell between the two
        _evaluate(folder, recipe)
    last, evaluation = _last(folder, "run_finished"), _last(folder, "evaluation")
    assert last is not None, "train_alone has returned"
    assert evaluation is not None, "the run's last checkpoint is evaluated"
    return Finished(folder, recipe, last["seconds"], evaluation["values"], before)


def latent_std(folder: str) -> float:
    """The standard deviation of a run's latents, mean and noise together, as it reported last."""
    report = _last(folder, "report")
    assert report is not None, "a finished run has reported"
    values = report["values"]
    return math.hypot(values["latent/mean_std"], values["latent/posterior_std"])


def recipe_of(arm: Arm, seed: int, request: Comparison, overrides: list[str]) -> Recipe:
    """The recipe that all arms share, with what this one changes laid over it."""
    images = request.total_images
    lengths = ("run.total_images", "run.checkpoint_every_images", "evaluation.every_images")
    return resolve(
        CONFIGS / "simflow_digits.yaml",
        [
            str(CONFIGS / "comparison" / f"{request.data}.yaml"),
            f"run.name={arm.name}-{seed}",
            f"run.root={request.root}",
            f"run.seed={seed}",
            f"data.shards={request.shards_url}",
            *(f"{length}={images}" for length in lengths if images is not None),
            *arm.overrides,
            *overrides,
        ],
    ).recipe


def _check_recipe(folder: str, recipe: Recipe) -> None:
    """Raises BadInput where the run in `folder` was trained by a recipe that matters otherwise."""
    found = read_recipe(find_checkpoint(folder))
    if recipe_digest(found) == recipe_digest(recipe):
        return
    there, here = flatten(found), flatten(recipe)
    differs = [
        f"{key}={there.get(key)} (expected {value})"
        for key, value in here.items()
        if there.get(key) != value
    ]
    raise BadInput(
        f"{folder}: found a finished run of another recipe, by {', '.join(differs)}. Give another "
        "root, or the total_images and data of that run"
    )


def _last(folder: str, kind: str) -> Event | None:
    found = None
    for event in read_ledger(folder):
        found = event if event["kind"] == kind else found
    return found


def _evaluate(folder: str, recipe: Recipe) -> None:
    values = evaluate(find_checkpoint(folder), recipe, output=folder)
    images = recipe.run.total_images
    with Ledger(folder, "comparison", run=recipe.run.name, attempt=0) as ledger:
        ledger.write("evaluation", images_seen=images, values=values)
