"""A model's drawn images against a reference of the field's, and what its density knows.

The preset says how images are seen and scored, the recipe how many are drawn and how. Everything is
checked before the first image: the detector's weights, the reference and who made it, the number
and size of the images.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.split import read_split
from system.evaluation.detectors.choice import open_detector
from system.evaluation.labelled import Labelled
from system.evaluation.labels import labels_of
from system.evaluation.measures.bench import Bench
from system.evaluation.measures.bench import Stages
from system.evaluation.measures.density import density
from system.evaluation.measures.reconstruction import reconstruction
from system.evaluation.measures.smoothness import smoothness
from system.evaluation.presets import PRESETS
from system.evaluation.presets import detector_of
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Measurement
from system.evaluation.reference.reading import read_reference
from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.drawn import drawn_images
from system.evaluation.standard import Origin
from system.evaluation.standard import Standard
from system.evaluation.standard import measure_standard
from system.evaluation.studio import Studio
from system.evaluation.subject import Subject
from system.foundation import storage
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import LabelMode
from system.foundation.settings.evaluation import ReferenceEvaluation


def standard_of(settings: ReferenceEvaluation, image_size: int) -> Standard:
    """Preset, detector and reference as the settings say, for square images of a size.

    Raises BadInput for a detector, a reference or a number of images that do not fit.
    """
    preset = PRESETS[settings.kind]
    choice = detector_of(
        preset, settings.detector, resize=settings.resize, digest=settings.detector_sha256
    )
    standard = Standard(preset, choice, read_reference(settings.reference))
    standard.refuse(settings.samples, (image_size, image_size), "what the recipe draws")
    return standard


def drawn_for(
    subject: Subject, checkpoint: str, settings: ReferenceEvaluation, manifest: Manifest
) -> DrawnImages:
    """The images that the settings ask for, with the labels that they ask for.

    Raises BadInput for a checkpoint without a flow.
    """
    mode: LabelMode | Literal["none"] = "none"
    label = None
    if subject.model.flow.shape.is_conditional:
        mode, classes = settings.labels, subject.recipe.data.classes
        frequency = np.bincount(manifest.split("train").labels, minlength=classes).tolist()
        label = labels_of(settings.labels, settings.samples, settings.seed, frequency)
    drawing = Drawing(labels=mode, seed=settings.seed, sampler=settings)
    rounding = PRESETS[settings.kind].rounding
    return drawn_images(
        subject, checkpoint, drawing, label, count=settings.samples, rounding=rounding
    )


def reference_stages(
    subject: Subject, recipe: Recipe, run_folder: str, *, checkpoint: str, studio: Studio
) -> Stages:
    """What is measured: the preset's scores of drawn images; of held-out images, where there are
    any, reconstruction, latents and density.

    Raises what `standard_of` raises.
    """
    settings = recipe.evaluation
    assert isinstance(settings, ReferenceEvaluation), "the evaluator chooses by the settings"
    standard = standard_of(settings, subject.recipe.data.image_size)
    manifest = read_manifest(recipe.data.shards)
    stages: Stages = {}
    if subject.has_flow:
        kept = storage.join(storage.absolute(_shared(run_folder)), "references", "units")
        stages["generation"] = _Generation(
            subject, checkpoint, settings, standard, manifest, studio, kept
        ).measure
    held_out = manifest.split("held_out")
    if not settings.held_out_images or not held_out.samples:
        return stages
    data = subject.recipe.data.model_copy(update={"shards": recipe.data.shards})
    real = read_split(held_out, data, settings.held_out_images)
    bench = Bench(
        subject=subject,
        settings=settings,
        detector=open_detector(standard.detector, studio.device),
        choice=standard.detector,
        held_out=Labelled(real.image, real.label),
        data_digest=manifest.digest,
        checkpoint=checkpoint,
        studio=studio,
    )
    stages["reconstruction"] = partial(reconstruction, bench)
    stages["latents"] = partial(smoothness, bench)
    if subject.has_flow:
        stages["density"] = partial(density, bench)
    return stages


@dataclass(frozen=True, slots=True)
class _Generation:
    """Images drawn from a checkpoint before a standard."""

    subject: Subject
    checkpoint: str
    settings: ReferenceEvaluation
    standard: Standard
    manifest: Manifest
    studio: Studio
    kept: str  # where features of single real images are kept for all runs

    def measure(self) -> list[Measurement]:
        """Draw, have all images looked at, and score them."""
        source = drawn_for(self.subject, self.checkpoint, self.settings, self.manifest)
        features = self.studio.look(source, self.standard.detector)
        origin = Origin(
            averaging_decay=self.subject.averaging_decay,
            rounding=source.rounding,
            drawing=source.drawing,
        )
        real = self.standard.kept(self.kept, self.studio.crew, self.studio.device)
        return measure_standard(self.standard, features, origin, real)


def _shared(run_folder: str) -> str:
    """Where runs lie, and what they share."""
    root, _, _ = run_folder.rstrip("/").rpartition("/")
    return root or "."
