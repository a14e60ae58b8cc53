"""The digits protocol: all that is measured of a model of small labelled images.

A classifier trained on the real training images is the judge. Besides gFID it tells whether a drawn
image has the class that it was drawn for; how far it can be trusted is measured beside it.
"""

from functools import partial

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.split import WholeSplit
from data_pipeline.stream.split import read_split
from system.evaluation.detectors.choice import digits_choice
from system.evaluation.detectors.digits import digits_detector
from system.evaluation.detectors.digits import digits_url
from system.evaluation.labelled import Labelled
from system.evaluation.measures.bench import DigitsBench
from system.evaluation.measures.bench import Stages
from system.evaluation.measures.density import density
from system.evaluation.measures.generation import generation
from system.evaluation.measures.reconstruction import reconstruction
from system.evaluation.measures.smoothness import smoothness
from system.evaluation.protocol import Measurement
from system.evaluation.scores.accuracy import accuracy
from system.evaluation.studio import Studio
from system.evaluation.subject import Subject
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import DigitsEvaluation


def detectors_folder(run_folder: str) -> str:
    """Detectors lie beside the runs, since runs on the same data share them."""
    root, _, _ = run_folder.rstrip("/").rpartition("/")
    return storage.join(root or ".", "detectors")


def prepare(
    subject: Subject, recipe: Recipe, run_folder: str, *, checkpoint: str, studio: Studio
) -> DigitsBench:
    """The subject before its judge and the real images; the detector is trained if it is missing.

    Raises BadInput where the recipe asks for another evaluation, DataError for shards of other
    data.
    """
    settings = recipe.evaluation
    if not isinstance(settings, DigitsEvaluation):
        raise BadInput(
            f"evaluation.kind={settings.kind} in the recipe of this checkpoint; expected digits: "
            "the one protocol there is for small labelled images"
        )
    manifest = read_manifest(recipe.data.shards)
    data = subject.recipe.data.model_copy(update={"shards": recipe.data.shards})
    train = _labelled(read_split(manifest.split("train"), data))
    folder = storage.absolute(detectors_folder(run_folder))
    detector = digits_detector(
        train, classes=data.classes, data_digest=manifest.digest, folder=folder
    )
    return DigitsBench(
        subject=subject,
        checkpoint=checkpoint,
        settings=settings,
        detector=detector,
        choice=digits_choice(digits_url(folder, manifest.digest)),
        held_out=_labelled(read_split(manifest.split("held_out"), data)),
        data_digest=manifest.digest,
        studio=studio,
        train=train,
    )


def digits_stages(
    subject: Subject, recipe: Recipe, run_folder: str, *, checkpoint: str, studio: Studio
) -> Stages:
    """All that is measured of a subject: of one that trained no flow, its reconstructions alone.

    Raises what `prepare` raises.
    """
    bench = prepare(subject, recipe, run_folder, checkpoint=checkpoint, studio=studio)
    of_autoencoder: Stages = {
        "judge": partial(classifier_accuracy, bench),
        "reconstruction": partial(reconstruction, bench),
        "latents": partial(smoothness, bench),
    }
    if not bench.subject.has_flow:
        return of_autoencoder
    return of_autoencoder | {
        "density": partial(density, bench),
        "generation": partial(generation, bench),
    }


def classifier_accuracy(bench: DigitsBench) -> list[Measurement]:
    """How far the judge itself can be trusted: its accuracy on real images it never saw."""
    seen = bench.detector.look(bench.held_out.image)
    return [
        Measurement(
            name="evaluation/classifier_accuracy",
            value=accuracy(seen.logits, bench.held_out.label),
            protocol=bench.protocol(
                "accuracy", samples=len(bench.held_out.label), reference="labels held out"
            ),
        )
    ]


def _labelled(split: WholeSplit) -> Labelled:
    return Labelled(split.image, split.label)
