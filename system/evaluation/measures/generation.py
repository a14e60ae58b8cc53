"""How good drawn images are: gFID beside its floor, and whether a class drawn is the class seen.

The real training images are cut by a seeded permutation into disjoint halves A and B of n each. Two
n images are drawn; the first n stand in for B, the others for A, each with the label of the real
image whose place it takes. gFID is the mean of FD(first n, A) and FD(others, B). The floor is
FD(A, B): what real images get with the same numbers of samples and of each class. A gFID at the
floor cannot be told from real data by this detector; most of both is the bias of few samples.

Source: Heusel et al. 2017, arXiv 1706.08500; the floor is our own control.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor

from system.evaluation.drawing import draw
from system.evaluation.measures.bench import Bench
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Measurement
from system.evaluation.scores import Estimate
from system.evaluation.scores import accuracy
from system.evaluation.scores import frechet_distance
from system.evaluation.scores import jackknife
from system.evaluation.statistics import FeatureStatistics
from system.evaluation.statistics import merge_in_order
from system.foundation import streams

GROUPS = 20  # of the jackknife


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Two disjoint halves of the real features, and the labels drawn images shall bear."""

    first: FeatureStatistics
    second: FeatureStatistics
    label: Int[Tensor, "N"]
    floor: float

    @property
    def count(self) -> int:
        """Samples in each half."""
        return self.first.count


def generation(bench: Bench) -> list[Measurement]:
    """gFID and conditional accuracy at the recipe's guidance and without any, and the floor."""
    halves = cut_halves(bench)
    floor = bench.protocol("frechet_distance", samples=halves.count, reference=_halves(bench))
    measured = [Measurement(name="evaluation/gfid_floor", value=halves.floor, protocol=floor)]
    measured += _at_guidance(bench, halves, bench.settings.guidance, "")
    if bench.settings.guidance > 0:
        measured += _at_guidance(bench, halves, 0.0, "_unguided")
    return measured


def cut_halves(bench: Bench) -> Halves:
    """The real training images in two halves, as the detector sees them."""
    seed, count = bench.settings.seed, len(bench.train.label) // 2
    order = torch.from_numpy(
        streams.generator(seed, "evaluation/halves").permutation(len(bench.train.label))
    )
    features = bench.detector.look(bench.train.image[order]).features
    first = FeatureStatistics.of(features[:count])
    second = FeatureStatistics.of(features[count : 2 * count])
    label = bench.train.label[order]
    stand_in = torch.cat([label[count : 2 * count], label[:count]])
    return Halves(first, second, stand_in, frechet_distance(first, second))


def drawn_distance(features: Float[Tensor, "N F"], halves: Halves) -> Estimate:
    """gFID of the drawn features, with the jackknife over groups of drawn images."""
    pairs = [
        (_grouped(drawn), real)
        for drawn, real in zip(
            features.split(halves.count), (halves.first, halves.second), strict=True
        )
    ]
    without = [_mean_distance(pairs, left_out) for left_out in range(GROUPS)]
    return jackknife(_mean_distance(pairs, None), without)


def _at_guidance(bench: Bench, halves: Halves, guidance: float, suffix: str) -> list[Measurement]:
    settings = bench.settings
    drawing = Drawing.at(
        labels="train_frequency",
        guidance=guidance,
        temperature=settings.temperature,
        seed=settings.seed,
    )
    label = halves.label
    image = draw(bench.subject, drawing, range(len(label)), label, settings.batch)
    seen = bench.detector.look(image)
    distance = drawn_distance(seen.features, halves)
    fid = bench.protocol(
        "frechet_distance", samples=halves.count, reference=_halves(bench), drawing=drawing
    )
    hits = bench.protocol(
        "conditional_accuracy", samples=len(label), reference="labels drawn for", drawing=drawing
    )
    return [
        Measurement(
            name=f"evaluation/gfid{suffix}",
            value=distance.value,
            standard_error=distance.standard_error,
            corrected=distance.corrected,
            protocol=fid,
        ),
        Measurement(
            name=f"evaluation/gfid_ratio{suffix}",
            value=distance.value / halves.floor,
            standard_error=distance.standard_error / halves.floor,
            protocol=fid.model_copy(update={"metric": "frechet_distance_over_halves"}),
        ),
        Measurement(
            name=f"evaluation/conditional_accuracy{suffix}",
            value=accuracy(seen.logits, label),
            protocol=hits,
        ),
    ]


def _halves(bench: Bench) -> str:
    return f"train split in halves by seed {bench.settings.seed}"


def _grouped(features: Float[Tensor, "n F"]) -> dict[int, FeatureStatistics]:
    """Every GROUPS-th image is of one group."""
    return {group: FeatureStatistics.of(features[group::GROUPS]) for group in range(GROUPS)}


def _mean_distance(
    pairs: Sequence[tuple[dict[int, FeatureStatistics], FeatureStatistics]], left_out: int | None
) -> float:
    distances = []
    for groups, real in pairs:
        kept = {group: part for group, part in groups.items() if group != left_out}
        distances.append(frechet_distance(merge_in_order(kept), real))
    return sum(distances) / len(distances)
