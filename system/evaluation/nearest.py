"""Does the model copy? Drawn images beside the training images nearest to them, as a detector sees.

    found = nearest_neighbours("runs/digits/checkpoints/000000025600-1", Neighbouring(), output=...)
    found["evaluation/nearest_share"]

Held-out images are asked the same, which gives every number its scale: see `scores.copies`. Writes
`eval/<images_seen>-nearest.json`, and `samples/<images_seen>-nearest.png`: the drawn images that
are nearest to a training image, one in a row, each followed by its three nearest. The training
images are read once, a part at a time.
"""

from collections.abc import Iterator
from typing import Any
from typing import Literal

import torch
from jaxtyping import Float
from jaxtyping import UInt8
from pydantic import Field
from torch import Tensor

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.split import read_split
from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.detectors.choice import AnyDetector
from system.evaluation.detectors.choice import inception_choice
from system.evaluation.detectors.choice import open_detector
from system.evaluation.detectors.detector import Detector
from system.evaluation.detectors.digits import digits_detector
from system.evaluation.detectors.resize import Rule
from system.evaluation.detectors.vision import DINOV2
from system.evaluation.detectors.vision import dinov2_choice
from system.evaluation.detectors.vision import vision_choice
from system.evaluation.drawing import grid
from system.evaluation.drawing import to_png
from system.evaluation.labelled import Labelled
from system.evaluation.labels import labels_of
from system.evaluation.measured import Measured
from system.evaluation.measured import device_of
from system.evaluation.measures.digits import detectors_folder
from system.evaluation.protocol import Detector as DetectorRecord
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import Protocol
from system.evaluation.protocol import write_evaluation
from system.evaluation.requests import run_folder_of
from system.evaluation.scores.copies import Nearest
from system.evaluation.scores.copies import Score
from system.evaluation.scores.copies import copies
from system.evaluation.scores.copies import nearest_of
from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.drawn import DrawnSource
from system.evaluation.sources.drawn import drawn_images
from system.evaluation.sources.shards import open_shards
from system.evaluation.sources.shards import shard_images
from system.evaluation.sources.source import Source
from system.evaluation.subject import Subject
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_subject
from system.evaluation.subject import run_of
from system.foundation import storage
from system.foundation.config import record_from_mapping
from system.foundation.errors import BadInput
from system.foundation.settings.data import Data
from system.foundation.settings.evaluation import Measuring
from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.evaluation import SamplerChanges
from system.foundation.settings.record import PositiveInt

PART = 1024  # images that are looked at together
NEIGHBOURS = 3
ROWS = 12  # of the picture
DEFINITION = "distances to the training images, beside held-out images': scores/copies.py, v1"


class Neighbouring(SamplerChanges, Measured):
    """A checkpoint whose drawn images to hold beside the training images."""

    count: PositiveInt = Field(1000, description="images to draw")
    held_out: PositiveInt | None = Field(
        None, description="held-out images that give the scale; null takes all"
    )
    train_images: PositiveInt | None = Field(
        None, description="training images to search among; null takes all"
    )
    detector: Literal["digits", "inception", "timm"] = Field(
        "digits", description="whose features the distances are of; timm: a teacher, DINOv2, CLIP"
    )
    weights: str | None = Field(None, description="path or url of inception's or timm's weights")
    model: str = Field(DINOV2, description="timm's name of the model")
    size: PositiveInt | None = Field(None, description="pixels timm's model sees; null is its own")
    resize: Rule | None = Field(
        None, description="how images reach their size; null is each detector's own rule"
    )
    seed: int = Field(0, ge=0, description="of noise and labels")


def nearest_neighbours(
    checkpoint_url: str, request: Neighbouring, *, output: str
) -> dict[str, float]:
    """Measure a checkpoint's copies and write record and picture into `output`.

    Returns each number by name. Raises BadInput where it has no flow, or for weights that are not
    there, DataError for shards of other data, CheckpointError for a damaged checkpoint.
    """
    with exact_arithmetic(request.threads or torch.get_num_threads()):
        subject = read_subject(checkpoint_url, device_of(request.device))
        data = subject.recipe.data
        data = data.model_copy(update={"shards": request.shards or data.shards})
        drawn = _drawn(checkpoint_url, request, subject, data)
        detector = _detector(request, data, run_of(checkpoint_url) or output)
        train = shard_images(
            data, "train", count=request.train_images, choice="seeded", seed=request.seed
        )
        held_out = shard_images(
            data, "held_out", count=request.held_out, choice="seeded", seed=request.seed
        )
        asked = [
            *_features(drawn, request.count, detector),
            *_features(open_shards(held_out), held_out.count, detector),
        ]
        searched = open_shards(train)
        found = nearest_of(torch.cat(asked), _features(searched, train.count, detector), NEIGHBOURS)
        near, scale = found[: request.count], found[request.count :]
        content = to_png(closest(drawn, searched, near))
    reference = f"{train.digest}: {train.count} of train; {held_out.digest}: {held_out.count}"
    protocol = _protocol(drawn.record, detector, subject, f"{reference} held out")
    measured = _measurements(near, scale, protocol)
    evaluation = Evaluation(
        images_seen=subject.images_seen,
        checkpoint=checkpoint_url,
        content=drawn.record.digest,
        preset="nearest",
        measurements=measured,
        seconds={},
    )
    write_evaluation(evaluation, output)
    place = storage.join(output, "samples", f"{subject.images_seen:012d}-nearest.png")
    storage.write_bytes(place, content)
    return {one.name: one.value for one in measured}


def nearest_to_table(request: Neighbouring) -> str:
    """Measure, write, and return the numbers as a table. Raises what `nearest_neighbours` does."""
    checkpoint = find_checkpoint(request.checkpoint)
    values = nearest_neighbours(
        checkpoint, request, output=request.out or run_folder_of(checkpoint)
    )
    width = max(len(name) for name in values)
    return "\n".join(f"{name:<{width}}  {value:.6g}" for name, value in values.items())


def closest(drawn: Source, train: Source, near: Nearest) -> UInt8[Tensor, "C Y X"]:
    """A row for each of the drawn images nearest to a training image: it, and its nearest."""
    rows = near.distance[:, 0].argsort(stable=True)[:ROWS].tolist()
    shown = []
    for row in rows:
        shown.append(drawn.images(range(row, row + 1)))
        shown += [train.images(range(i, i + 1)) for i in near.index[row].tolist()]
    return grid(torch.cat(shown), columns=1 + near.index.shape[1])


def _features(source: Source, count: int, detector: Detector) -> Iterator[Float[Tensor, "N F"]]:
    for start in range(0, count, PART):
        image = source.images(range(start, min(start + PART, count)))
        yield detector.look(image).features


def _drawn(url: str, request: Neighbouring, subject: Subject, data: Data) -> DrawnSource:
    """What is drawn: with the run's sampler, for classes as often as they are trained on."""
    settings, own, in_flight = subject.recipe.evaluation, Sampler(guidance=0.0), 1
    if isinstance(settings, Measuring):
        in_flight = settings.batches_in_flight
        own = Sampler(**settings.model_dump(include=set(Sampler.model_fields)))
    changed: dict[str, Any] = own.model_dump(mode="json") | request.changes()
    sampler = record_from_mapping(changed, Sampler)
    label = None
    if subject.has_flow and subject.model.flow.shape.is_conditional:
        trained_on = torch.from_numpy(read_manifest(data.shards).split("train").labels.astype(int))
        frequency = torch.bincount(trained_on, minlength=data.classes).tolist()
        label = labels_of("train_frequency", request.count, request.seed, frequency)
    drawing = Drawing(
        labels="none" if label is None else "train_frequency", seed=request.seed, sampler=sampler
    )
    record = drawn_images(subject, url, drawing, label, count=request.count)
    return DrawnSource(record, subject, in_flight)


def _detector(request: Neighbouring, data: Data, run_folder: str) -> Detector:
    if request.detector != "digits":
        return open_detector(_choice(request), request.device)
    manifest = read_manifest(data.shards)
    split = read_split(manifest.split("train"), data)
    return digits_detector(
        Labelled(split.image, split.label),
        classes=data.classes,
        data_digest=manifest.digest,
        folder=detectors_folder(run_folder),
    )


def _choice(request: Neighbouring) -> AnyDetector:
    if request.weights is None:
        raise BadInput(
            f"detector={request.detector} needs weights=FILE, a path or url; expected one beside "
            "it, or detector=digits"
        )
    if request.detector == "inception":
        return inception_choice(request.weights, request.resize or "tf1_bilinear")
    if request.model == DINOV2 and request.size is None:
        return dinov2_choice(request.weights)
    resize = request.resize or "bicubic_antialias"
    return vision_choice(request.model, request.weights, size=request.size, resize=resize)


def _protocol(drawn: DrawnImages, detector: Detector, subject: Subject, reference: str) -> Protocol:
    return Protocol(
        preset="nearest",
        metric="nearest",
        definition=DEFINITION,
        samples=drawn.count,
        reference=reference,
        averaging_decay=subject.averaging_decay,
        compute_dtype="float32",
        moments_dtype=None,
        rounding=drawn.rounding,
        detector=DetectorRecord(name=detector.name, digest=detector.digest, resize=detector.resize),
        drawing=drawn.drawing,
        latents=None,
        probe=None,
        scoring=None,
        groups=None,
    )


def _measurements(near: Nearest, scale: Nearest, protocol: Protocol) -> tuple[Measurement, ...]:
    told = copies(near, scale)
    scores: dict[str, Score] = {
        "nearest_share": told.share,
        "nearest_auc": told.auc,
        "nearest_ks": told.ks,
        "nearest_memorised": told.memorised,
        "nearest_memorised_held_out": told.memorised_held_out,
    }
    return tuple(
        Measurement(
            name=f"evaluation/{name}",
            value=score.value,
            standard_error=score.standard_error,
            protocol=protocol.model_copy(update={"metric": name}),
        )
        for name, score in scores.items()
    )
