"""What a frozen flow's features know of classes: a linear probe on any block and layer.

    found = probe("runs/digits/checkpoints/000000025600-1", Probing(), output="runs/digits")
    found[0, 1]["accuracy"], found[0, 1]["fresh_accuracy"]

The probe is fitted on the training split, by logistic regression or as MAE's linear probe; what it
has to choose is chosen there too, and the held-out split measures alone. Beside it stand features
of the same flow with fresh weights, as training would start from, on the same latents: the
difference is what training has added.

Source: linear probing in R-REPA, arXiv 2511.22345, and REPA, arXiv 2410.06940.
"""

import math
import time
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from data_pipeline.shards.manifest import read_manifest
from system.alignment.strategies import Place
from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.linear_probe import LinearProbe
from system.evaluation.logistic_regression import regression_probe
from system.evaluation.measured import Measured
from system.evaluation.measured import device_of
from system.evaluation.pooled_features import Features
from system.evaluation.pooled_features import Look
from system.evaluation.pooled_features import fresh_flow
from system.evaluation.pooled_features import pooled_features
from system.evaluation.probe_classifiers import Classifier
from system.evaluation.probe_classifiers import LogisticRegression
from system.evaluation.probe_classifiers import StochasticDescent
from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import Latents
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import Probe
from system.evaluation.protocol import Protocol
from system.evaluation.protocol import write_evaluation
from system.evaluation.requests import run_folder_of
from system.evaluation.scores.accuracy import accuracy
from system.evaluation.stochastic_descent import descent_probe
from system.evaluation.subject import Subject
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_subject
from system.foundation.errors import BadInput
from system.foundation.settings.record import PositiveInt

TOP = 5
WEIGHTS: tuple[Literal["trained", "fresh"], ...] = ("trained", "fresh")

Scores = dict[str, float]


class Probing(Look, Measured):
    """A checkpoint whose features to probe."""

    places: tuple[tuple[int, PositiveInt], ...] | None = Field(
        None,
        description="pairs (block, layers): features of that block after so many of its layers; "
        "blocks count from the data side, or back from the noise side if negative; null takes "
        "every block after its last layer",
    )
    classifier: Classifier = Field(
        LogisticRegression(), description="how the probe is fitted: solved, or trained as MAE's"
    )


def probe(checkpoint_url: str, request: Probing, *, output: str) -> dict[Place, Scores]:
    """Probe a checkpoint and write `eval/<images_seen>-probe.json` into `output`.

    Returns each place's numbers; those of fresh weights are `fresh_...`. Raises BadInput for places
    or a class that the flow does not have, DataError for shards of other data, CheckpointError for
    a damaged checkpoint.
    """
    start = time.perf_counter()
    with exact_arithmetic(request.threads or torch.get_num_threads()):
        subject = read_subject(checkpoint_url, device_of(request.device))
        places = _places(request, subject)
        manifest = read_manifest(request.shards or subject.recipe.data.shards)
        flows = {"trained": subject.model.flow, "fresh": fresh_flow(subject, request.seed)}
        train, held_out = (
            pooled_features(subject, flows, places, request, manifest=manifest, split=split)
            for split in ("train", "held_out")
        )
        scores = {
            (weights, place): _scores(train, held_out, (weights, place), subject, request)
            for weights in WEIGHTS
            for place in places
        }
    reference = f"{manifest.digest}: held out, fitted on {len(train.label)} of train"
    evaluation = Evaluation(
        images_seen=subject.images_seen,
        checkpoint=checkpoint_url,
        preset="probe",
        measurements=tuple(_measurements(scores, request, subject, reference, len(held_out.label))),
        seconds={"probe": time.perf_counter() - start},
    )
    write_evaluation(evaluation, output)
    return {
        place: scores["trained", place]
        | {f"fresh_{name}": value for name, value in scores["fresh", place].items()}
        for place in places
    }


def probe_to_table(request: Probing) -> str:
    """Probe, write the record, and return a line for each place. Raises what `probe` raises."""
    checkpoint = find_checkpoint(request.checkpoint)
    found = probe(checkpoint, request, output=request.out or run_folder_of(checkpoint))
    names = list(next(iter(found.values())))
    rows = [["block", "layers", *names]]
    rows += [
        [str(block), str(layers), *(f"{scores[name]:.4g}" for name in names)]
        for (block, layers), scores in found.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def _places(request: Probing, subject: Subject) -> tuple[Place, ...]:
    """The places asked for, blocks counted from the data side."""
    depths, classes = subject.recipe.flow.depths, subject.recipe.data.classes
    if not subject.has_flow:
        raise BadInput(
            f"the run of {request.checkpoint} trained no flow (objective.route="
            f"{subject.recipe.objective.route}): there are no features of one to probe"
        )
    if request.told is not None and request.told >= classes:
        raise BadInput(
            f"told={request.told}: the flow of {request.checkpoint} knows {classes} classes; "
            f"expected null or a number from 0 to {classes - 1}"
        )
    asked = request.places or tuple((block, depth) for block, depth in enumerate(depths))
    for block, layers in asked:
        if not -len(depths) <= block < len(depths) or layers > depths[block]:
            raise BadInput(
                f"places has [{block}, {layers}]; the flow of {request.checkpoint} has "
                f"{len(depths)} blocks of {', '.join(map(str, depths))} layers: expected blocks "
                f"from {-len(depths)} to {len(depths) - 1}, and as many layers as they have"
            )
    return tuple(dict.fromkeys((block % len(depths), layers) for block, layers in asked))


def _scores(
    train: Features,
    held_out: Features,
    key: tuple[str, Place],
    subject: Subject,
    request: Probing,
) -> Scores:
    classes = subject.recipe.data.classes
    fitted = train_probe(
        train.pooled[key],
        train.label,
        classes=classes,
        seed=request.seed,
        classifier=request.classifier,
    )
    logits = fitted.logits(held_out.pooled[key])
    scores = {"accuracy": accuracy(logits, held_out.label)}
    if classes > TOP:
        scores[f"top{TOP}_accuracy"] = accuracy(logits, held_out.label, TOP)
    return scores | dict(fitted.chosen)


def train_probe(
    features: Float[Tensor, "N F"],
    label: Int[Tensor, "N"],
    *,
    classes: int,
    seed: int,
    classifier: LogisticRegression | StochasticDescent,
) -> LinearProbe:
    """The probe of these training features, fitted as the classifier says."""
    match classifier:
        case LogisticRegression():
            return regression_probe(features, label, classes=classes, seed=seed, way=classifier)
        case StochasticDescent():
            return descent_probe(features, label, classes=classes, seed=seed, way=classifier)


def _measurements(
    scores: Mapping[tuple[Literal["trained", "fresh"], Place], Scores],
    request: Probing,
    subject: Subject,
    reference: str,
    samples: int,
) -> Iterator[Measurement]:
    """Every number, with its binomial error where it is a share of images."""
    latents = Latents(draws=0 if request.latent == "mean" else 1, seed=request.seed)
    for (weights, (block, layers)), values in scores.items():
        way = Probe(
            block=block,
            layers=layers,
            weights=weights,
            pooling="mean",
            told=request.told,
            classifier=request.classifier,
            seed=request.seed,
        )
        for name, value in values.items():
            is_share = name.endswith("accuracy")
            yield Measurement(
                name=f"evaluation/probe_block{block}_layer{layers}_{weights}_{name}",
                value=value,
                standard_error=math.sqrt(value * (1 - value) / samples) if is_share else None,
                protocol=Protocol(
                    preset="probe",
                    metric=f"linear_probe_{name}",
                    definition=None,
                    samples=samples,
                    reference=reference,
                    averaging_decay=subject.recipe.engine.averaging_decay,
                    compute_dtype="float32",
                    moments_dtype="float64",  # of what the probe standardises by, and its fit
                    rounding=None,
                    detector=None,
                    drawing=None,
                    latents=latents,
                    probe=way,
                    scoring=None,
                    groups=None,
                ),
            )
