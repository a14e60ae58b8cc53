"""What each protocol of the field fixes, as data: one record per preset, to be read in a minute.

A preset does not fix what the person who measures decides: weights, labels, sampler, seed, and how
many images there are, where fewer than `samples` are measured. All of that stands in the protocol.
Pixels of our own drawings are rounded half to even, where the papers round, truncate, or do not
say; `tarflow` truncates, because its numbers cannot be compared otherwise.
"""

from typing import Literal

from system.evaluation.detectors.choice import AnyDetector
from system.evaluation.detectors.choice import digits_choice
from system.evaluation.detectors.choice import inception_choice
from system.evaluation.detectors.resize import Rule as Resize
from system.evaluation.detectors.weights import INCEPTION
from system.evaluation.protocol import Neighbours
from system.evaluation.protocol import PresetName
from system.evaluation.protocol import Splits
from system.evaluation.protocol import Subsets
from system.evaluation.rounding import Rule
from system.evaluation.sources.shards import Path
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

Score = Literal["gfid", "sfid", "inception_score", "precision", "recall", "kid", "fd_dinov2"]
KEPT = 10_000  # real images whose own features a reference keeps, for precision, recall and kernels


class Preset(Record):
    """One way of measuring that others use too."""

    name: PresetName
    network: Literal["inception", "dinov2", "digits"]
    weights: str | None  # sha256 of the published file; None where no one vouches for one
    resizes: tuple[Resize, ...]  # rules that bring images to the network's size; the first is usual
    samples: PositiveInt  # that published numbers have
    rounding: Rule  # of images that we draw
    reads_adm: bool  # whether ADM's npz may be the reference, beside those that we make
    path: Path  # what happens to real pixels on their way into a reference
    scores: tuple[Score, ...]
    spatial: str | None = None  # what sFID's features are
    splits: Splits | None = None  # of the Inception Score, at `samples` images
    split_size: PositiveInt | None = None  # where it is their size that is fixed, not their number
    neighbours: Neighbours | None = None  # of precision and recall
    subsets: Subsets | None = None  # of the kernel distance
    left_out: tuple[str, ...] = ()  # of what the original does

    def splits_of(self, samples: int) -> Splits:
        """The splits of another number of images."""
        assert self.splits is not None, f"{self.name} has no Inception Score"
        if self.split_size is None:
            return self.splits
        return self.splits.model_copy(update={"count": max(1, samples // self.split_size)})


PRESETS: dict[PresetName, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="adm_50k",
            network="inception",
            weights=INCEPTION.sha256,
            resizes=("tf1_bilinear",),
            samples=50_000,
            rounding="half_to_even",
            reads_adm=True,
            path="plain",
            scores=("gfid", "sfid", "inception_score", "precision", "recall"),
            spatial="mixed_6/conv after its rectifier, first 7 channels, channels innermost: 2023",
            # ADM cuts splits of 5,000 in the order given, which punishes sorted classes: 100 at
            # most. A fixed permutation is the same for samples in random order.
            splits=Splits(count=10, order="keyed_permutation", seed=0, logits="without_bias"),
            split_size=5000,
            neighbours=Neighbours(k=3, distance_dtype="float32", references=10_000),
            left_out=(
                "distances of precision and recall in float16: ours are float32",
                "mean of features in float32: ours is float64 (1e-9 of a squared distance)",
            ),
        ),
        Preset(
            name="torch_fidelity",
            network="inception",
            weights=INCEPTION.sha256,
            resizes=("tf1_bilinear",),
            samples=50_000,
            rounding="half_to_even",
            reads_adm=True,
            path="plain",
            scores=("gfid", "inception_score", "kid"),
            splits=Splits(count=10, order="numpy_mt19937", seed=2020, logits="without_bias"),
            subsets=Subsets(count=100, size=1000, seed=2020),
            left_out=("precision and recall: theirs look at VGG-16's features, not Inception's",),
        ),
        Preset(
            name="tarflow",
            network="inception",
            weights=INCEPTION.sha256,
            # The script takes whatever TorchMetrics is installed: before 1.8 (July 2025, after the
            # paper) that is TensorFlow 1's rule, from then on bilinear with antialiasing.
            resizes=("tf1_bilinear", "bilinear_antialias"),
            samples=50_000,
            rounding="truncate",
            reads_adm=False,
            path="tarflow",
            scores=("gfid",),
            left_out=(
                "batches drawn again while any image has a NaN: ours are refused and counted",
                "which real images are mirrored: theirs are drawn anew each time, ours by a seed",
            ),
        ),
        Preset(
            name="dinov2",
            network="dinov2",
            weights=None,
            resizes=("bicubic_antialias",),
            samples=50_000,
            rounding="half_to_even",
            reads_adm=False,
            path="plain",
            scores=("fd_dinov2",),
            left_out=("truncation to 8 bits behind an autoencoder, as in EDM2: ours are rounded",),
        ),
        Preset(
            name="digits",
            network="digits",
            weights=None,
            resizes=("none",),
            samples=1000,
            rounding="half_to_even",
            reads_adm=False,
            path="plain",
            scores=("gfid", "sfid", "inception_score", "precision", "recall", "kid"),
            spatial="the detector's last grid, first 7 channels, channels innermost",
            splits=Splits(count=10, order="keyed_permutation", seed=0, logits="with_bias"),
            neighbours=Neighbours(k=3, distance_dtype="float32", references=1000),
            subsets=Subsets(count=100, size=100, seed=2020),
        ),
    )
}


def detector_of(
    preset: Preset, weights: str, *, resize: str | None = None, digest: str | None = None
) -> AnyDetector:
    """The detector of a preset whose weights lie at a path or url.

    `resize` is one of the preset's rules, `digest` the sha256 of the weights where they are not to
    be the published ones. Raises BadInput for another rule, and for a file that is absent, damaged
    or another one.
    """
    usable = [rule for rule in preset.resizes if resize in (None, rule)]
    if not usable:
        raise BadInput(
            f"resize={resize}: {preset.name} brings images to the detector's size by "
            f"{' or '.join(preset.resizes)}; expected that, or another preset"
        )
    weights = storage.absolute(weights)  # for workers elsewhere
    if preset.network == "digits":
        return digits_choice(weights)
    if preset.network == "dinov2":
        from system.evaluation.detectors.vision import dinov2_choice  # timm takes its time

        return dinov2_choice(weights, digest or preset.weights)
    return inception_choice(weights, usable[0], digest or preset.weights)
