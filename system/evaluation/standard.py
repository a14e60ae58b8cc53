"""Samples measured by one of the field's protocols: of our own drawing, or anyone's.

    standard = Standard(PRESETS["adm_50k"], detector, read_reference(url))
    source = standard.admitted(archive_images("samples.npz"), samples=50_000)
    features = features_of(FeatureRequest(source=source, detectors=(detector,)), folder, crew)
    measured = measure_standard(standard, features, GIVEN, standard.kept(folder, crew))

What does not fit together is refused before anything long is computed: a reference of another
protocol, too few samples, samples of another size. Every number comes with its jackknife error.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.crews.crew import Crew
from system.evaluation.crews.features import Features
from system.evaluation.detectors.choice import AnyDetector
from system.evaluation.detectors.choice import DigitsChoice
from system.evaluation.presets import Preset
from system.evaluation.presets import Score
from system.evaluation.protocol import Detector
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import Neighbours
from system.evaluation.protocol import Protocol
from system.evaluation.protocol import Rounding
from system.evaluation.protocol import Scoring
from system.evaluation.reference.reading import kept_features
from system.evaluation.reference.reference import Reference
from system.evaluation.reference.reference import refuse_other_protocols
from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet_estimate import frechet_estimate
from system.evaluation.scores.frechet_estimate import small_sample_bias
from system.evaluation.scores.inception_score import inception_score
from system.evaluation.scores.inception_score import keyed_order
from system.evaluation.scores.inception_score import numpy_order
from system.evaluation.scores.jackknife import GROUPS
from system.evaluation.scores.jackknife import Estimate
from system.evaluation.scores.kernel import kernel_distance
from system.evaluation.scores.neighbours import precision_recall
from system.evaluation.sources.archive import ArchiveImages
from system.evaluation.sources.folder import FolderImages
from system.evaluation.sources.shards import ShardImages
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput
from system.foundation.settings.record import Record

SINGLE: frozenset[Score] = frozenset({"precision", "recall", "kid"})  # ask for single real images
METRICS: dict[Score, str] = {
    "gfid": "frechet_distance",
    "fd_dinov2": "frechet_distance",
    "sfid": "spatial_frechet_distance",
    "inception_score": "inception_score",
    "precision": "precision",
    "recall": "recall",
    "kid": "kernel_distance",
}

log = logging.getLogger(__name__)

GivenImages = TypeVar("GivenImages", ArchiveImages, FolderImages, ShardImages)


class Origin(Record):
    """How the measured samples came to be, as far as their protocol says it."""

    averaging_decay: float | None  # of the weights that drew them
    rounding: Rounding
    drawing: Drawing | Literal["given"]


GIVEN = Origin(averaging_decay=None, rounding="given", drawing="given")


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """A preset with a detector and a reference that fit it. Raises BadInput where they do not."""

    preset: Preset
    detector: AnyDetector
    reference: Reference

    def __post_init__(self) -> None:
        refuse_other_protocols(self.reference, self.preset, self.seen_by)
        if not self.scores:
            raise BadInput(
                f"{self.reference.url} has nothing that a score of {self.preset.name} asks for: "
                f"{'; '.join(self.left_out)}. Expected moments, at least"
            )
        for reason in self.left_out:
            log.warning("%s: left out %s", self.reference.url, reason)

    @property
    def seen_by(self) -> Detector:
        """The detector as protocols name it."""
        chosen = self.detector
        return Detector(name=chosen.name, digest=chosen.digest, resize=chosen.resize)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Those of the preset that the reference has enough for."""
        return tuple(score for score in self.preset.scores if self._lacks(score) is None)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The other ones, and why."""
        lacking = ((score, self._lacks(score)) for score in self.preset.scores)
        return tuple(f"{score}, {lack}" for score, lack in lacking if lack is not None)

    def _lacks(self, score: Score) -> str | None:
        reference = self.reference
        if score in ("gfid", "fd_dinov2") and reference.moments is None:
            return "for want of moments (mu, sigma)"
        if score == "sfid" and reference.spatial is None:
            return "for want of spatial moments (mu_s, sigma_s)"
        if score in SINGLE and reference.kept is None and reference.shown is None:
            return "for want of single real images (arr_0)"
        return None

    def admitted(self, source: GivenImages, samples: int | None = None) -> GivenImages:
        """The first `samples` images of a source (as many as the preset's by default).

        Raises BadInput where it has fewer, or where they are of another size than the reference's.
        """
        wanted = self.preset.samples if samples is None else samples
        if source.count < wanted:
            raise BadInput(
                f"{source.url} holds {source.count} images; expected {wanted}. Scores depend on "
                f"how many there are: give more, or samples={source.count}, and compare with "
                "numbers of as many"
            )
        judge = self.detector
        if isinstance(judge, DigitsChoice) and source.channels != judge.channels:
            raise BadInput(
                f"{source.url} holds images of {source.channels} channels; {judge.name} was "
                f"trained on {judge.channels}. Expected a detector of the samples' kind"
            )
        self.refuse(wanted, (source.height, source.width), source.url)
        return source if source.count == wanted else source.model_copy(update={"count": wanted})

    def refuse(self, samples: int, size: tuple[int, int], what: str) -> None:
        """Raise BadInput for samples that this standard cannot measure: too few, or of another
        size (height, width) than the real images."""
        expected = self.reference.size
        if expected is not None and size != expected:
            raise BadInput(
                f"{what} has images of {size[0]}x{size[1]} pixels, and the reference "
                f"{self.reference.url} is of {expected[0]}x{expected[1]}; expected the same size. "
                "A reference of the samples' size has to be made of real images of that size"
            )
        least = self._least(samples)
        if samples < least:
            raise BadInput(
                f"found {samples} samples of {what}; {self.preset.name} needs {least} at the "
                f"least, for {', '.join(self.scores)}. Give more"
            )
        real = self._single()
        subsets = self.preset.subsets
        if "kid" in self.scores and subsets is not None and real < subsets.size:
            raise BadInput(
                f"{self.reference.url} has single features of {real} images; "
                f"{self.preset.name} takes subsets of {subsets.size}. Make a reference of more"
            )

    def _least(self, samples: int) -> int:
        """The fewest samples for which all scores, and their errors, are defined."""
        least = [2 * GROUPS]
        if "inception_score" in self.scores:
            least.append(GROUPS * self.preset.splits_of(samples).count)
        if "kid" in self.scores and self.preset.subsets is not None:
            least.append(self.preset.subsets.size)
        return max(least)

    def _single(self) -> int:
        if self.reference.kept is not None:
            return len(self.reference.kept)
        return 0 if self.reference.shown is None else self.reference.shown[0]

    def kept(
        self, folder: str, crew: Crew, device: Literal["cpu", "cuda"] = "cpu"
    ) -> Float[Tensor, "M F"] | None:
        """Features of single real images, computed into `folder` once where the reference has
        none; None where no score asks for them."""
        if not SINGLE & set(self.scores):
            return None
        return kept_features(self.reference, self.detector, folder, crew, device)

    def protocol(
        self, score: Score, samples: int, origin: Origin, scoring: Scoring | None = None
    ) -> Protocol:
        """The protocol of a score of so many samples."""
        is_distance = score in ("gfid", "sfid", "fd_dinov2")
        return Protocol(
            preset=self.preset.name,
            metric=METRICS[score],
            definition=self.preset.spatial if score == "sfid" else None,
            samples=samples,
            reference=self.reference.names(),
            averaging_decay=origin.averaging_decay,
            compute_dtype="float32",
            moments_dtype="float64" if is_distance else None,
            rounding=origin.rounding,
            detector=self.seen_by,
            drawing=origin.drawing,
            latents=None,
            probe=None,
            scoring=scoring,
            groups=GROUPS,
        )


def measure_standard(
    standard: Standard,
    features: Features,
    origin: Origin,
    kept: Float[Tensor, "M F"] | None = None,
) -> list[Measurement]:
    """Every score of a standard, of the samples whose features these are.

    `kept` is what `standard.kept` gives. Raises NumericsError for features that are not finite,
    all counted: no image is left out.
    """
    with exact_arithmetic(threads=1):  # sums of matrix products depend on the number of threads
        return [*_distances(standard, features, origin), *_others(standard, features, origin, kept)]


def _distances(standard: Standard, features: Features, origin: Origin) -> Iterator[Measurement]:
    kinds: dict[Score, tuple[str, FeatureStatistics | None]] = {
        "gfid": ("features", standard.reference.moments),
        "fd_dinov2": ("features", standard.reference.moments),
        "sfid": ("spatial", standard.reference.spatial),
    }
    for score in standard.scores:
        if score not in kinds:
            continue
        kind, moments = kinds[score]
        assert moments is not None
        seen = features.whole(standard.detector.name, kind)
        estimate = frechet_estimate(seen, Factored.of(moments))
        counted = moments.count if standard.reference.knows_count else None
        yield Measurement(
            name=f"evaluation/{score}",
            value=estimate.value,
            standard_error=estimate.standard_error,
            corrected=estimate.corrected,
            interval=estimate.interval,
            bias=small_sample_bias(moments.covariance, features.count, counted),
            protocol=standard.protocol(score, features.count, origin),
        )


def _others(
    standard: Standard, features: Features, origin: Origin, kept: Tensor | None
) -> Iterator[Measurement]:
    preset, name, count = standard.preset, standard.detector.name, features.count
    if "inception_score" in standard.scores:
        splits = preset.splits_of(count)
        logits = features.whole(name, "logits")
        estimate = inception_score(logits, splits.count, _order(splits.order, count, splits.seed))
        yield _scored(estimate, standard.protocol("inception_score", count, origin, splits))
    if kept is None:
        return
    seen = features.whole(name, "features")
    if preset.neighbours is not None:
        neighbours = preset.neighbours.model_copy(update={"references": len(kept)})
        yield from _neighbours(standard, seen, origin, kept, neighbours)
    if preset.subsets is not None:
        subsets = preset.subsets
        estimate = kernel_distance(kept, seen, subsets.count, subsets.size, subsets.seed)
        yield _scored(estimate, standard.protocol("kid", count, origin, subsets), "kid")


def _neighbours(
    standard: Standard, seen: Tensor, origin: Origin, kept: Tensor, how: Neighbours
) -> Iterator[Measurement]:
    found = precision_recall(kept, seen, how.k, how.distance_dtype)
    pairs: tuple[tuple[Estimate, Score], ...] = (
        (found.precision, "precision"),
        (found.recall, "recall"),
    )
    for estimate, score in pairs:
        yield _scored(estimate, standard.protocol(score, len(seen), origin, how))


def _scored(estimate: Estimate, protocol: Protocol, name: str | None = None) -> Measurement:
    """A number that is not corrected for how many samples there are."""
    return Measurement(
        name=f"evaluation/{name or protocol.metric}",
        value=estimate.value,
        standard_error=estimate.standard_error,
        interval=estimate.interval,
        protocol=protocol,
    )


def _order(order: str, count: int, seed: int | None) -> Tensor | None:
    if order == "given":
        return None
    assert seed is not None, f"the order {order} has a seed"
    return keyed_order(count, seed) if order == "keyed_permutation" else numpy_order(count, seed)
