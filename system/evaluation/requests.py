"""What the commands `jobs/sample.py` and `jobs/evaluate.py` are asked, and how they answer."""

from typing import Annotated
from typing import Any
from typing import Literal
from typing import TypeVar

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.drawing import draw
from system.evaluation.drawing import grid
from system.evaluation.drawing import to_adm_npz
from system.evaluation.drawing import to_png
from system.evaluation.evaluator import evaluate
from system.evaluation.labels import balanced_labels
from system.evaluation.measured import Loaded
from system.evaluation.measured import Measured
from system.evaluation.protocol import Drawing
from system.evaluation.subject import Subject
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_recipe
from system.evaluation.subject import read_subject
from system.evaluation.subject import run_of
from system.foundation import storage
from system.foundation.config import record_from_mapping
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.evaluation import SamplerChanges
from system.foundation.settings.record import PositiveInt

GRID_PICTURES = 100  # the grid shows the first of them; the npz holds all
GRID_COLUMNS = 10
WAYS: dict[str, Literal["balanced", "none"]] = {"balanced": "balanced", "none": "none"}
NO_CLASS = -1  # the label, in the npz, of an image that was drawn for no class

S = TypeVar("S", bound=Sampler)


class Sampling(SamplerChanges, Loaded):
    """Images to draw from a checkpoint."""

    out: str = Field("drawn", description="folder or url for samples.png and samples.npz")
    count: PositiveInt = Field(100, description="images to draw")
    labels: Annotated[str, Field(pattern=r"^(balanced|none|[0-9]+)$")] = Field(
        "balanced",
        description="balanced: every class in turn; none: no class; or one class by its number",
    )
    seed: int = Field(0, ge=0, description="image i is a function of seed and i")
    batch: PositiveInt = Field(256, description="images per pass; changes rounding alone")


class Scoring(SamplerChanges, Measured):
    """A checkpoint to evaluate under the digits protocol."""

    seed: Annotated[int, Field(ge=0)] | None = Field(
        None, description="seed of noise and halves; null takes the recipe's"
    )


def sample_to_folder(request: Sampling) -> list[str]:
    """Draw and write `samples.png` and `samples.npz`; their urls. Raises BadInput."""
    subject = read_subject(find_checkpoint(request.checkpoint), device_of(request.device))
    if not subject.has_flow:
        raise BadInput(
            f"checkpoint={request.checkpoint} is of a run that trained no flow (objective.route="
            f"{subject.recipe.objective.route}): there is nothing to draw from. Expected a run "
            "that trained one"
        )
    label = _labels(request, subject)
    drawing = Drawing(
        labels=WAYS.get(request.labels, "fixed"),
        seed=request.seed,
        sampler=_sampler(request, subject),
    )
    with exact_arithmetic(request.threads or torch.get_num_threads()):
        image = draw(subject, drawing, range(request.count), label, request.batch)
    label = torch.full((request.count,), NO_CLASS) if label is None else label
    shown = label[:GRID_PICTURES].argsort(stable=True)  # classes below each other
    files = {
        "samples.png": to_png(grid(image[shown], columns=GRID_COLUMNS)),
        "samples.npz": to_adm_npz(image, label),
    }
    return [_written(storage.join(request.out, name), content) for name, content in files.items()]


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
    recipe = recipe.model_copy(update={"evaluation": _changed(recipe.evaluation, changes)})
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


def _labels(request: Sampling, subject: Subject) -> Int[Tensor, "N"] | None:
    classes = subject.recipe.data.classes
    if request.labels == "none":
        return None
    if request.labels == "balanced":
        return balanced_labels(request.count, classes)
    chosen = int(request.labels)
    if chosen >= classes:
        raise BadInput(
            f"labels={request.labels}: the model of {request.checkpoint} knows {classes} classes; "
            f"expected balanced, none or a number from 0 to {classes - 1}"
        )
    return torch.full((request.count,), chosen)


def _sampler(request: Sampling, subject: Subject) -> Sampler:
    """The sampler of the run's evaluation, or a plain one, with what the request says."""
    settings = subject.recipe.evaluation
    own = Sampler(guidance=0.0)
    if isinstance(settings, Sampler):
        own = Sampler(**settings.model_dump(include=set(Sampler.model_fields)))
    return _changed(own, request.changes())


def _changed(settings: S, changes: dict[str, Any]) -> S:
    """A record with some of its keys changed, checked again as a whole. Raises RecipeError."""
    return record_from_mapping(settings.model_dump(mode="json") | changes, type(settings))


def device_of(wanted: str) -> str:
    """The device that was asked for. Raises BadInput where it is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BadInput("device=cuda: torch finds no GPU on this machine; expected device=cpu here")
    return wanted


def _written(url: str, content: bytes) -> str:
    storage.write_bytes(url, content)
    return url
