"""All that a measure needs: the subject, real images, a detector, and the settings in force."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from system.evaluation.detectors.choice import AnyDetector
from system.evaluation.detectors.detector import KINDS
from system.evaluation.detectors.detector import Detector
from system.evaluation.detectors.detector import Seen
from system.evaluation.labelled import Labelled
from system.evaluation.protocol import Detector as DetectorRecord
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Latents
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import Protocol
from system.evaluation.sources.drawn import drawn_images
from system.evaluation.studio import Studio
from system.evaluation.subject import Subject
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import ReferenceEvaluation


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """One subject before one detector and the held-out images of one manifest."""

    subject: Subject
    settings: DigitsEvaluation | ReferenceEvaluation
    detector: Detector
    choice: AnyDetector  # with which workers open the same detector
    held_out: Labelled
    data_digest: str
    checkpoint: str  # where workers read the subject's weights
    studio: Studio

    def drawn(self, drawing: Drawing, label: Int[Tensor, "N"] | None, count: int) -> Seen:
        """What the detector makes of the first `count` images drawn for these labels."""
        source = drawn_images(
            self.subject, self.checkpoint, drawing, label, count=count, decay=self.subject.decay
        )
        features = self.studio.look(source, self.choice)
        return Seen(*(features.whole(self.choice.name, kind) for kind in KINDS))

    def protocol(
        self,
        metric: str,
        *,
        samples: int,
        reference: str,
        drawing: Drawing | None = None,
        latents: Latents | None = None,
        groups: int | None = None,
    ) -> Protocol:
        """The protocol of a metric of 8-bit images that the detector looked at."""
        return Protocol(
            preset=self.settings.kind,
            metric=metric,
            definition=None,
            samples=samples,
            reference=f"{self.data_digest}: {reference}",
            averaging_decay=self.subject.averaging_decay,
            compute_dtype="float32",
            moments_dtype="float64" if metric.endswith("frechet_distance") else None,
            rounding="half_to_even",
            detector=DetectorRecord(
                name=self.detector.name, digest=self.detector.digest, resize=self.detector.resize
            ),
            drawing=drawing,
            latents=latents,
            probe=None,
            scoring=None,
            groups=groups,
        )

    def density_protocol(self, metric: str, latents: Latents) -> Protocol:
        """The protocol of a metric of the held-out latents, which no detector sees."""
        whole = self.protocol(
            metric, samples=len(self.held_out.label), reference="held out", latents=latents
        )
        return whole.model_copy(update={"detector": None, "rounding": None})


# What is measured, stage by stage; nothing is computed before it is called.
Stages = dict[str, Callable[[], list[Measurement]]]


@dataclass(frozen=True, slots=True, eq=False)
class DigitsBench(Bench):
    """The same with the training images, which the digits protocol has in memory."""

    train: Labelled
