"""What the command `jobs/evaluate.py` is asked, and how it answers: numbers with their protocol.

A checkpoint is measured as its run's recipe says, or as the request does; samples of anyone's (an
npz in ADM's layout, a folder of PNG files) by one of the field's protocols.
"""

import json
import time
from collections.abc import Callable
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated
from typing import Any

from pydantic import Field

from system.evaluation.crews.any_crew import any_crew
from system.evaluation.crews.crew import Crew
from system.evaluation.crews.request import NO_BITS
from system.evaluation.evaluator import evaluate
from system.evaluation.judged import AS_THE_RUN
from system.evaluation.judged import Judged
from system.evaluation.judged import settings_of
from system.evaluation.measured import device_of
from system.evaluation.presets import PRESETS
from system.evaluation.presets import detector_of
from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import write_evaluation
from system.evaluation.reference.reading import read_reference
from system.evaluation.requests import run_folder_of
from system.evaluation.sources.archive import ArchiveImages
from system.evaluation.sources.archive import archive_images
from system.evaluation.sources.folder import FolderImages
from system.evaluation.sources.folder import folder_images
from system.evaluation.standard import GIVEN
from system.evaluation.standard import Standard
from system.evaluation.standard import measure_standard
from system.evaluation.studio import Studio
from system.evaluation.studio import units_folder
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_recipe
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import SamplerChanges
from system.foundation.settings.record import PositiveInt
from system.telemetry.metric import UNCERTAINTY
from system.telemetry.metrics import METRICS

Cluster = Callable[[], AbstractContextManager[None]]


class Scoring(SamplerChanges, Judged):
    """A checkpoint, or samples of anyone's, and the protocol to measure it by."""

    samples: str | None = Field(
        None,
        description="samples of anyone's in place of a checkpoint: path or url of an npz (arr_0 "
        "uint8 N H W 3) or of a folder of PNG files",
    )
    lpips: str | None = Field(
        None, description=f"path or url of the weights of LPIPS' trunk; {AS_THE_RUN}"
    )
    count: PositiveInt | None = Field(
        None,
        description="images to draw, or to take of the samples; null takes the run's, or as many "
        "as the protocol's published numbers have",
    )
    averaging_decay: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="which average of the weights, of those a run keeps; null: its first"
    )


def evaluate_to_table(request: Scoring, cluster: Cluster) -> str:
    """Evaluate, write the record, and return the numbers as a table. Raises BadInput.

    `cluster` connects to a Ray, where workers are asked for. Settings other than the run's own need
    `out`: the run's own record is not written over by them.
    """
    with any_crew(request.workers, device_of(request.device), cluster) as crew:
        return _of_samples(request, crew) if request.samples else _of_checkpoint(request, crew)


def _of_checkpoint(request: Scoring, crew: Crew) -> str:
    checkpoint = find_checkpoint(request.checkpoint)
    recipe = read_recipe(checkpoint)
    changes = request.changes() | request.said()
    if request.count is not None:
        changes["samples"] = request.count
    differs = {*changes} - NO_BITS
    if request.averaging_decay is not None:
        differs.add("averaging_decay")
    if differs and request.out is None:
        raise BadInput(
            f"found {', '.join(sorted(differs))} without out; expected out=FOLDER beside settings "
            "that differ from the run's, so that the run's own record stays as it is"
        )
    settings = settings_of(recipe, request.kind, changes)
    data = recipe.data.model_copy(update={"shards": request.shards or recipe.data.shards})
    values = evaluate(
        checkpoint,
        recipe.model_copy(update={"data": data, "evaluation": settings}),
        output=request.out or run_folder_of(checkpoint),
        crew=crew,
        device=request.device,
        decay=request.averaging_decay,
    )
    return table(values)


def _of_samples(request: Scoring, crew: Crew) -> str:
    """Samples of anyone's, by a protocol that says everything but how they were made."""
    of_drawing = ("labels", "seed", "averaging_decay", "batches_in_flight")
    unused = sorted({*request.changes(), *_given(request, of_drawing)})
    if unused:
        raise BadInput(
            f"found {', '.join(unused)} beside samples={request.samples}; expected none of them: "
            "samples are there already, however they were drawn"
        )
    kind, reference, weights, out = (
        _needed(request, key) for key in ("kind", "reference", "detector", "out")
    )
    preset = PRESETS[kind]
    choice = detector_of(preset, weights, resize=request.resize, digest=request.detector_sha256)
    standard = Standard(preset, choice, read_reference(reference))
    source = _images(_needed(request, "samples"), standard, request.count)
    _refuse_others(source, preset.name, out)
    start = time.perf_counter()
    studio = Studio(crew, units_folder(out), request.device, request.batch or 256)
    features = studio.look(source, choice)
    # Beside the units, of which a finished evaluation leaves none: the next samples need them too.
    kept = standard.kept(storage.join(storage.absolute(out), "references"), crew, request.device)
    evaluation = Evaluation(
        images_seen=0,
        checkpoint=source.url,
        content=source.digest,
        preset=preset.name,
        measurements=tuple(measure_standard(standard, features, GIVEN, kept)),
        seconds={"samples": time.perf_counter() - start},
    )
    write_evaluation(evaluation, out)
    studio.clear()
    return table(evaluation.values())


def _refuse_others(source: ArchiveImages | FolderImages, preset: str, out: str) -> None:
    """Raise BadInput where `out` has the record of other samples under the same name."""
    place = storage.join(out, "eval", f"{0:012d}-{preset}.json")
    if not storage.exists(place):
        return
    there = json.loads(storage.read_text(place))
    if there.get("content") != source.digest:
        raise BadInput(
            f"{place} has the numbers of other samples ({there.get('checkpoint')}); expected "
            "another out=FOLDER for these, so that none is written over"
        )


def _needed(request: Scoring, key: str) -> Any:
    value = getattr(request, key)
    if value is None:
        raise BadInput(
            f"samples={request.samples} without {key}; expected kind=adm_50k (or another "
            "protocol), reference=..., detector=... and out=FOLDER beside it"
        )
    return value


def _given(request: Scoring, keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if getattr(request, key) is not None]


def _images(url: str, standard: Standard, count: int | None) -> ArchiveImages | FolderImages:
    if url.lower().endswith(".npz"):
        return standard.admitted(archive_images(url), count)
    return standard.admitted(folder_images(url), count)


def table(values: Mapping[str, float]) -> str:
    """A line for each number, with its standard error where it has one."""
    names = [name for name in values if name in METRICS]
    width = max(map(len, names))
    lines = []
    for name in names:
        error = values.get(name + UNCERTAINTY)
        spread = "" if error is None else f" ± {error:.2g}"
        lines.append(f"{name:<{width}}  {values[name]:.6g}{spread}")
    return "\n".join(lines)
