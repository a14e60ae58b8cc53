"""What one number of drawn images is measured by, for many ways to draw: the score that rules.

All else that a protocol measures is left out, and what the ways share is prepared once: the real
images, their statistics and the factor of their covariance.
"""

from abc import ABC
from abc import abstractmethod
from dataclasses import dataclass
from dataclasses import replace

import torch

from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import read_manifest
from system.evaluation.crews.features import Features
from system.evaluation.detectors.choice import AnyDetector
from system.evaluation.measures.bench import DigitsBench
from system.evaluation.measures.digits import prepare
from system.evaluation.measures.generation import Cut
from system.evaluation.measures.generation import cut_halves
from system.evaluation.measures.generation import distance_protocol
from system.evaluation.measures.generation import distances_to_halves
from system.evaluation.measures.reference import drawn_for
from system.evaluation.measures.reference import standard_of
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Protocol
from system.evaluation.ruling import Ruling
from system.evaluation.ruling import ruling_distance
from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet_estimate import frechet_estimate
from system.evaluation.scores.jackknife import GROUPS
from system.evaluation.scores.jackknife import Estimate
from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.drawn import drawn_images
from system.evaluation.standard import Origin
from system.evaluation.standard import Standard
from system.evaluation.studio import Studio
from system.evaluation.subject import Subject
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import ReferenceEvaluation

AnySettings = DigitsEvaluation | ReferenceEvaluation


class Yardstick(ABC):
    """The ruling score of one protocol against one set of real images."""

    choice: AnyDetector
    full: int  # images that the protocol's own numbers have

    @abstractmethod
    def refuse(self, count: int) -> None:
        """Raise BadInput for a number of images that it cannot measure."""

    @abstractmethod
    def drawn(self, subject: Subject, settings: AnySettings, count: int) -> DrawnImages:
        """The images that settings ask a subject for. Raises BadInput where it has no flow."""

    @abstractmethod
    def protocol(self, subject: Subject, source: DrawnImages) -> Protocol:
        """The protocol of the score of these images."""

    @abstractmethod
    def estimates(self, features: Features) -> list[Estimate]:
        """The score, as the mean of estimates that are of different images."""


@dataclass(frozen=True, slots=True, eq=False)
class DigitsYardstick(Yardstick):
    """gFID against the halves of the training images: see `measures/generation`."""

    bench: DigitsBench
    cut: Cut
    checkpoint: str
    choice: AnyDetector
    full: int

    def refuse(self, count: int) -> None:
        """Raise BadInput for a number of images that is odd, too small or too large."""
        least = 4 * GROUPS
        if count % 2 or not least <= count <= self.full:
            raise BadInput(
                f"found {count} images; digits has one half stand in for each half of the "
                f"{self.full} training images: expected an even number from {least} to {self.full}"
            )

    def drawn(self, subject: Subject, settings: AnySettings, count: int) -> DrawnImages:
        """As the evaluation draws them; fewer are fewer for each half."""
        label = None
        if subject.model.flow.shape.is_conditional:
            label = torch.cat([half[: count // 2] for half in self.cut.label.chunk(2)])
        drawing = Drawing(
            labels="none" if label is None else "train_frequency",
            seed=settings.seed,
            sampler=settings,
        )
        return drawn_images(subject, self.checkpoint, drawing, label, count=count)

    def protocol(self, subject: Subject, source: DrawnImages) -> Protocol:
        """The protocol of gFID."""
        bench = replace(self.bench, subject=subject)
        return distance_protocol(bench, source.drawing, source.count // 2)

    def estimates(self, features: Features) -> list[Estimate]:
        """The distances to both halves."""
        return distances_to_halves(features.whole(self.choice.name, "features"), self.cut.features)


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceYardstick(Yardstick):
    """A distance to a reference's moments."""

    standard: Standard
    score: Ruling
    real: Factored
    manifest: Manifest
    checkpoint: str
    size: int
    choice: AnyDetector
    full: int

    def refuse(self, count: int) -> None:
        """Raise BadInput for too few images."""
        self.standard.refuse(count, (self.size, self.size), f"what {self.checkpoint} draws")

    def drawn(self, subject: Subject, settings: AnySettings, count: int) -> DrawnImages:
        """As the evaluation draws them."""
        assert isinstance(settings, ReferenceEvaluation), "this is another evaluation's yardstick"
        wanted = settings.model_copy(update={"samples": count})
        return drawn_for(subject, self.checkpoint, wanted, self.manifest)

    def protocol(self, subject: Subject, source: DrawnImages) -> Protocol:
        """The protocol of the distance."""
        origin = Origin(
            averaging_decay=subject.averaging_decay,
            rounding=source.rounding,
            drawing=source.drawing,
        )
        return self.standard.protocol(self.score, source.count, origin)

    def estimates(self, features: Features) -> list[Estimate]:
        """The one distance."""
        return [frechet_estimate(features.whole(self.choice.name, "features"), self.real)]


def yardstick_of(
    subject: Subject, recipe: Recipe, home: str, *, checkpoint: str, studio: Studio
) -> Yardstick:
    """What the score that rules the recipe's evaluation is measured by.

    `home` is the run's folder, beside which the detector of digits lies.

    Raises BadInput for a detector, a reference or a number of images that do not fit.
    """
    settings = recipe.evaluation
    if isinstance(settings, ReferenceEvaluation):
        size = subject.recipe.data.image_size
        standard = standard_of(settings, size)
        moments = standard.reference.moments
        score = ruling_distance(settings.kind)
        if moments is None:
            raise BadInput(
                f"{standard.reference.url} has no moments (mu, sigma), and {score} is a distance "
                "to them; expected a reference with moments"
            )
        return ReferenceYardstick(
            standard=standard,
            score=score,
            real=Factored.of(moments),
            manifest=read_manifest(recipe.data.shards),
            checkpoint=checkpoint,
            size=size,
            choice=standard.detector,
            full=standard.preset.samples,
        )
    bench = prepare(subject, recipe, home, checkpoint=checkpoint, studio=studio)
    cut = cut_halves(bench)
    return DigitsYardstick(bench, cut, checkpoint, bench.choice, full=len(cut.label))
