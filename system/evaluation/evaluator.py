"""Measure a committed checkpoint as its recipe says, and write what was found.

    values = evaluate("runs/digits/checkpoints/000000025600-1", output="runs/digits")
    values["evaluation/gfid"]

It reads averaged weights and shards, and writes `eval/<images_seen>-<kind>.json` (every number with
its protocol) and `samples/<images_seen>.png` (a row per class, the same noise every time). Images
are drawn in units that a crew of any size computes; until the result is written, finished units
stay in `eval/units`, so that whoever is interrupted goes on. The result is a function of weights,
data and settings: the same bytes for any crew, any batch, any interruption. Training is never
touched.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Crew
from system.evaluation.drawing import draw
from system.evaluation.drawing import grid
from system.evaluation.drawing import to_png
from system.evaluation.labels import balanced_labels
from system.evaluation.measures.digits import digits_stages
from system.evaluation.measures.reference import reference_stages
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import write_evaluation
from system.evaluation.studio import Device
from system.evaluation.studio import Studio
from system.evaluation.studio import units_folder
from system.evaluation.subject import Subject
from system.evaluation.subject import read_subject
from system.evaluation.subject import run_of
from system.evaluation.subject import subject_digest
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import Measuring
from system.foundation.settings.evaluation import NoEvaluation
from system.foundation.settings.evaluation import ReferenceEvaluation

GRID_ROWS = 10
GRID_COLUMNS = 10
PREPARE = {DigitsEvaluation: digits_stages, ReferenceEvaluation: reference_stages}


def evaluate(
    checkpoint_url: str,
    recipe: Recipe | None = None,
    *,
    output: str,
    crew: Crew | None = None,
    device: Device = "cpu",
    decay: float | None = None,
) -> dict[str, float]:
    """Measure one checkpoint, write the record and the grid into the run's folder `output`.

    `recipe` says where the data are and how to evaluate, in place of the checkpoint's own; the
    model is always the checkpoint's, its weights those averaged by `decay` (None: by its recipe's
    first). Without a crew this process draws. Returns each number by name. Raises BadInput where
    the recipe asks for no evaluation, DataError for shards of other data, CheckpointError for a
    damaged checkpoint.
    """
    seconds: dict[str, float] = {}
    with exact_arithmetic(threads=1):
        with _timed(seconds, "prepare"):
            subject = read_subject(checkpoint_url, device, decay=decay)
            recipe = recipe or subject.recipe
            settings = _settings(recipe, checkpoint_url)
            studio = Studio(
                crew or AloneCrew(),
                units_folder(output),
                device,
                settings.batch,
                settings.batches_in_flight,
            )
            home = run_of(checkpoint_url) or output
            prepare = PREPARE[type(settings)]
            stages = prepare(subject, recipe, home, checkpoint=checkpoint_url, studio=studio)
        measured = []
        for name, stage in stages.items():
            with _timed(seconds, name):
                measured += stage()
        if subject.has_flow:
            _write_grid(subject, settings, output)
    evaluation = Evaluation(
        images_seen=subject.images_seen,
        checkpoint=checkpoint_url,
        content=subject_digest(subject),
        preset=settings.kind,
        measurements=tuple(measured),
        seconds=seconds,
    )
    write_evaluation(evaluation, output)
    studio.clear()
    return evaluation.values()


def grid_place(run_folder: str, images_seen: int) -> str:
    """Where the sample grid of a checkpoint lies in a run's folder."""
    return storage.join(run_folder, "samples", f"{images_seen:012d}.png")


def _settings(recipe: Recipe, checkpoint: str) -> DigitsEvaluation | ReferenceEvaluation:
    """What the recipe says of evaluations. Raises BadInput where it asks for none."""
    if isinstance(recipe.evaluation, NoEvaluation):
        raise BadInput(
            f"evaluation.kind=none in the recipe of {checkpoint}; expected a kind of evaluation, "
            "such as evaluation.kind=digits for small labelled images"
        )
    return recipe.evaluation


def _write_grid(subject: Subject, settings: Measuring, output: str) -> None:
    """A row per class (of the first ten), with the same noise at every checkpoint."""
    is_conditional = subject.model.flow.shape.is_conditional
    drawing = Drawing(
        labels="balanced" if is_conditional else "none", seed=settings.seed, sampler=settings
    )
    rows = min(GRID_ROWS, subject.recipe.data.classes)
    count = rows * GRID_COLUMNS
    label = balanced_labels(count, rows).sort().values if is_conditional else None
    image = draw(subject, drawing, range(count), label)
    place = grid_place(output, subject.images_seen)
    storage.write_bytes(place, to_png(grid(image, GRID_COLUMNS)))


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
