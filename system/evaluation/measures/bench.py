"""All that a measure needs: the subject, real images, a detector, and the settings in force."""

from dataclasses import dataclass

from system.evaluation.detectors.digits import DigitsDetector
from system.evaluation.labelled import Labelled
from system.evaluation.protocol import Detector
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Latents
from system.evaluation.protocol import Protocol
from system.evaluation.subject import Subject
from system.foundation.settings.evaluation import DigitsEvaluation


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """One subject before one detector and the real images of one manifest."""

    subject: Subject
    settings: DigitsEvaluation
    detector: DigitsDetector
    train: Labelled
    held_out: Labelled
    data_digest: str

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
            preset="digits",
            metric=metric,
            definition=None,
            samples=samples,
            reference=f"{self.data_digest}: {reference}",
            averaging_decay=self.subject.recipe.engine.averaging_decay,
            compute_dtype="float32",
            moments_dtype="float64" if metric.endswith("frechet_distance") else None,
            rounding="half_to_even",
            detector=Detector(name=self.detector.name, digest=self.detector.digest, resize="none"),
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
