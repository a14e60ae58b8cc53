"""How good drawn images are: gFID and sFID beside their floors, and whether classes are kept.

The real training images are cut by a seeded permutation into disjoint halves A and B of n each. Two
n images are drawn; the first n stand in for B, the others for A, each with the label of the real
image whose place it takes. gFID is the mean of FD(first n, A) and FD(others, B). The floor is
FD(A, B): what real images get with the same numbers of samples and of each class. A gFID at the
floor cannot be told from real data by this detector; most of both is the bias of few samples. sFID
is the same with the detector's spatial features.

Precision, recall and the kernel distance are of all drawn images against all real training images.

Source: Heusel et al. 2017, arXiv 1706.08500; spatial features: Nash et al. 2021, arXiv 2103.03841;
the floor is our own control.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor

from system.evaluation.measures.bench import DigitsBench
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import Neighbours
from system.evaluation.protocol import Protocol
from system.evaluation.scores.accuracy import accuracy
from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet import frechet_distance
from system.evaluation.scores.frechet_estimate import frechet_estimate
from system.evaluation.scores.jackknife import GROUPS
from system.evaluation.scores.jackknife import Estimate
from system.evaluation.scores.jackknife import mean_of
from system.evaluation.scores.kernel import full_kernel_distance
from system.evaluation.scores.neighbours import precision_recall
from system.evaluation.statistics import FeatureStatistics
from system.foundation import streams
from system.foundation.settings.evaluation import Sampler

SPATIAL = "spatial_frechet_distance"
NEAREST = 3  # neighbours, of precision and recall


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Two disjoint halves of one kind of real features."""

    first: FeatureStatistics
    second: FeatureStatistics
    floor: float

    @classmethod
    def of(cls, first: Float[Tensor, "n F"], second: Float[Tensor, "n F"]) -> "Halves":
        """The two halves' statistics, and their distance."""
        statistics = FeatureStatistics.of(first), FeatureStatistics.of(second)
        return cls(*statistics, frechet_distance(*statistics))

    @property
    def count(self) -> int:
        """Samples in each half."""
        return self.first.count


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """The real training images in halves, by both kinds of features; what drawn ones shall be."""

    features: Halves
    spatial: Halves
    label: Int[Tensor, "N"]
    real: Float[Tensor, "N F"]  # features of all real images, in the order that they are cut in


def generation(bench: DigitsBench) -> list[Measurement]:
    """gFID, sFID and conditional accuracy with the recipe's guidance and without, and floors."""
    cut = cut_halves(bench)
    floor = bench.protocol("frechet_distance", samples=cut.features.count, reference=_halves(bench))
    spatial = floor.model_copy(update={"metric": SPATIAL})
    measured = [
        Measurement(name="evaluation/gfid_floor", value=cut.features.floor, protocol=floor),
        Measurement(name="evaluation/sfid_floor", value=cut.spatial.floor, protocol=spatial),
    ]
    sampler = bench.settings.effective()
    measured += drawn_quality(bench, cut, sampler)
    if sampler.guidance > 0:
        unguided = sampler.model_copy(update={"guidance": 0.0})
        measured += drawn_quality(bench, cut, unguided, suffix="_unguided")
    return measured


def cut_halves(bench: DigitsBench) -> Cut:
    """The real training images in two halves, as the detector sees them."""
    seed, count = bench.settings.seed, len(bench.train.label) // 2
    order = torch.from_numpy(
        streams.generator(seed, "evaluation/halves").permutation(len(bench.train.label))
    )
    seen = bench.detector.look(bench.train.image[order])
    label = bench.train.label[order]
    return Cut(
        Halves.of(seen.features[:count], seen.features[count : 2 * count]),
        Halves.of(seen.spatial[:count], seen.spatial[count : 2 * count]),
        label=torch.cat([label[count : 2 * count], label[:count]]),
        real=seen.features,
    )


def drawn_distance(features: Float[Tensor, "N F"], halves: Halves) -> Estimate:
    """The mean distance of drawn features to the halves they do not stand in for."""
    return mean_of(distances_to_halves(features, halves))


def distances_to_halves(features: Float[Tensor, "N F"], halves: Halves) -> list[Estimate]:
    """The distances of the first half of drawn features to A, and of the others to B."""
    real = (Factored.of(halves.first), Factored.of(halves.second))
    drawn = features.split(len(features) // 2)
    return [frechet_estimate(part, half) for part, half in zip(drawn, real, strict=True)]


def distance_protocol(bench: DigitsBench, drawing: Drawing, samples: int) -> Protocol:
    """The protocol of gFID, by how many images are in a half."""
    return bench.protocol(
        "frechet_distance",
        samples=samples,
        reference=_halves(bench),
        drawing=drawing,
        groups=GROUPS,
    )


def drawn_quality(
    bench: DigitsBench, cut: Cut, sampler: Sampler, *, suffix: str = ""
) -> list[Measurement]:
    """gFID, its ratio to the floor, sFID and conditional accuracy of one way to draw; the last not
    of a flow without classes."""
    settings, is_conditional = bench.settings, bench.subject.model.flow.shape.is_conditional
    drawing = Drawing(
        labels="train_frequency" if is_conditional else "none",
        seed=settings.seed,
        sampler=sampler,
    )
    count, label = len(cut.label), cut.label if is_conditional else None
    seen = bench.drawn(drawing, label, count)
    fid = distance_protocol(bench, drawing, cut.features.count)
    sfid = fid.model_copy(update={"metric": SPATIAL})
    measured = [
        *_distances(f"gfid{suffix}", f"gfid_ratio{suffix}", seen.features, cut.features, fid),
        *_distances(f"sfid{suffix}", None, seen.spatial, cut.spatial, sfid),
        *_among_real(bench, cut, seen.features, drawing, suffix),
    ]
    if label is not None:
        hits = bench.protocol(
            "conditional_accuracy", samples=count, reference="labels drawn for", drawing=drawing
        )
        name, value = f"evaluation/conditional_accuracy{suffix}", accuracy(seen.logits, label)
        measured.append(Measurement(name=name, value=value, protocol=hits))
    return measured


def _distances(
    name: str, ratio: str | None, features: Float[Tensor, "N F"], halves: Halves, protocol: Protocol
) -> list[Measurement]:
    """The distance, and under the name `ratio` what it is over its floor."""
    distance = drawn_distance(features, halves)
    measured = [
        Measurement(
            name=f"evaluation/{name}",
            value=distance.value,
            standard_error=distance.standard_error,
            corrected=distance.corrected,
            interval=distance.interval,
            protocol=protocol,
        )
    ]
    if ratio is not None:
        measured.append(
            Measurement(
                name=f"evaluation/{ratio}",
                value=distance.value / halves.floor,
                standard_error=distance.standard_error / halves.floor,
                protocol=protocol.model_copy(update={"metric": "frechet_distance_over_halves"}),
            )
        )
    return measured


def _halves(bench: DigitsBench) -> str:
    return f"train split in halves by seed {bench.settings.seed}"


def _among_real(
    bench: DigitsBench, cut: Cut, features: Float[Tensor, "N F"], drawing: Drawing, suffix: str
) -> list[Measurement]:
    """Precision, recall and kernel distance of drawn features among all real ones."""
    found = precision_recall(cut.real, features, NEAREST)
    kernel = full_kernel_distance(cut.real, features)
    near = Neighbours(k=NEAREST, distance_dtype="float32", references=len(cut.real))
    scores: list[tuple[str, Estimate, Neighbours | None]] = [
        ("precision", found.precision, near),
        ("recall", found.recall, near),
        ("kid", kernel, None),
    ]
    return [
        Measurement(
            name=f"evaluation/{name}{suffix}",
            value=estimate.value,
            standard_error=estimate.standard_error,
            interval=estimate.interval,
            protocol=bench.protocol(
                "kernel_distance, all pairs" if scoring is None else name,
                samples=len(features),
                reference="train split",
                drawing=drawing,
                groups=GROUPS,
            ).model_copy(update={"scoring": scoring}),
        )
        for name, estimate, scoring in scores
    ]
