"""Measure a committed checkpoint under the digits protocol and write what was found.

    values = evaluate("runs/digits/checkpoints/000000025600-1", output="runs/digits")
    values["evaluation/gfid"]

It reads the averaged weights and the shards, and writes `eval/<images_seen>-digits.json` (every
number with its protocol) and `samples/<images_seen>.png` (a row per class, the same noise every
time). The numbers are a function of weights, data and settings: the batch and the number of threads
change them by rounding alone. Training is never touched.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.split import WholeSplit
from data_pipeline.stream.split import read_split
from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.detectors.digits import digits_detector
from system.evaluation.drawing import draw
from system.evaluation.drawing import grid
from system.evaluation.drawing import to_png
from system.evaluation.labelled import Labelled
from system.evaluation.labels import balanced_labels
from system.evaluation.measures.bench import Bench
from system.evaluation.measures.density import density
from system.evaluation.measures.generation import generation
from system.evaluation.measures.reconstruction import reconstruction
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import write_evaluation
from system.evaluation.scores.accuracy import accuracy
from system.evaluation.subject import Subject
from system.evaluation.subject import read_subject
from system.evaluation.subject import run_of
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import DigitsEvaluation

GRID_ROWS = 10
GRID_COLUMNS = 10


def evaluate(
    checkpoint_url: str,
    recipe: Recipe | None = None,
    *,
    output: str,
    threads: int = 1,
    device: str = "cpu",
) -> dict[str, float]:
    """Measure one checkpoint, write the record and the grid into the run's folder `output`.

    `recipe` says where the data are and how to evaluate, in place of the checkpoint's own; the
    model is always the checkpoint's. Returns each number by name. Raises BadInput where the recipe
    asks for no evaluation, DataError for shards of other data, CheckpointError for a damaged
    checkpoint.
    """
    seconds: dict[str, float] = {}
    with exact_arithmetic(threads):
        with _timed(seconds, "prepare"):
            subject = read_subject(checkpoint_url, device)
            home = run_of(checkpoint_url) or output
            bench = prepare(subject, recipe or subject.recipe, home)
        measured = [_classifier_accuracy(bench)]
        with _timed(seconds, "reconstruction"):
            measured += reconstruction(bench)
        if subject.has_flow:
            with _timed(seconds, "density"):
                measured += density(bench)
            with _timed(seconds, "generation"):
                measured += generation(bench)
                _write_grid(bench, output)
    evaluation = Evaluation(
        images_seen=subject.images_seen,
        checkpoint=checkpoint_url,
        preset="digits",
        measurements=tuple(measured),
        seconds=seconds,
    )
    write_evaluation(evaluation, output)
    return evaluation.values()


def grid_place(run_folder: str, images_seen: int) -> str:
    """Where the sample grid of a checkpoint lies in a run's folder."""
    return storage.join(run_folder, "samples", f"{images_seen:012d}.png")


def detectors_folder(run_folder: str) -> str:
    """Detectors lie beside the runs, since runs on the same data share them."""
    root, _, _ = run_folder.rstrip("/").rpartition("/")
    return storage.join(root or ".", "detectors")


def prepare(subject: Subject, recipe: Recipe, run_folder: str) -> Bench:
    """The subject before its judge and the real images; the detector is trained if it is missing.

    Raises BadInput where the recipe asks for no evaluation, DataError for shards of other data.
    """
    settings = recipe.evaluation
    if not isinstance(settings, DigitsEvaluation):
        raise BadInput(
            f"evaluation.kind={settings.kind} in the recipe of this checkpoint; expected digits: "
            "the one protocol there is for small labelled images. Train with "
            "evaluation.kind=digits and evaluation.every_images=... to measure a run"
        )
    manifest = read_manifest(recipe.data.shards)
    data = subject.recipe.data.model_copy(update={"shards": recipe.data.shards})
    train = _labelled(read_split(manifest.split("train"), data))
    detector = digits_detector(
        train,
        classes=data.classes,
        data_digest=manifest.digest,
        folder=detectors_folder(run_folder),
    )
    return Bench(
        subject=subject,
        settings=settings,
        detector=detector,
        train=train,
        held_out=_labelled(read_split(manifest.split("held_out"), data)),
        data_digest=manifest.digest,
    )


def _labelled(split: WholeSplit) -> Labelled:
    return Labelled(split.image, split.label)


def _classifier_accuracy(bench: Bench) -> Measurement:
    """How far the judge itself can be trusted: its accuracy on real images it never saw."""
    seen = bench.detector.look(bench.held_out.image)
    return Measurement(
        name="evaluation/classifier_accuracy",
        value=accuracy(seen.logits, bench.held_out.label),
        protocol=bench.protocol(
            "accuracy", samples=len(bench.held_out.label), reference="labels held out"
        ),
    )


def _write_grid(bench: Bench, output: str) -> None:
    """A row per class (of the first ten), with the same noise at every checkpoint."""
    settings = bench.settings
    is_conditional = bench.subject.model.flow.shape.is_conditional
    drawing = Drawing(
        labels="balanced" if is_conditional else "none", seed=settings.seed, sampler=settings
    )
    rows = min(GRID_ROWS, bench.subject.recipe.data.classes)
    count = rows * GRID_COLUMNS
    label = balanced_labels(count, rows).sort().values if is_conditional else None
    image = draw(bench.subject, drawing, range(count), label, settings.batch)
    place = grid_place(output, bench.subject.images_seen)
    storage.write_bytes(place, to_png(grid(image, GRID_COLUMNS)))


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
