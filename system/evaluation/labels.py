"""Which class each image is drawn for: a function of (seed, its number) alone.

The literature is split between labels drawn at random and exactly as many of each class; the latter
gives a lower Frechet distance, by about 0.1 on ImageNet. Neither has the frequencies of the real
training images, which the third way has.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from system.foundation import streams
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import LabelMode

STREAM = "sampling/label"


def labels_of(mode: LabelMode, count: int, seed: int, frequency: Sequence[int]) -> Int[Tensor, "N"]:
    """The labels of images 0 to count - 1, given how many real images there are of each class.

    Only `train_frequency` looks at the numbers, and only there they must not all be zero.
    """
    classes = len(frequency)
    if mode == "balanced":
        return balanced_labels(count, classes)
    if mode == "random":
        return streams.integers(seed, STREAM, range(count), classes)
    share = torch.tensor(frequency, dtype=torch.float64).cumsum(0)
    if not share[-1] > 0:
        raise BadInput(
            "labels=train_frequency: the training split has no image of any class; expected one"
        )
    chosen = torch.searchsorted(
        share, streams.uniform(seed, STREAM, range(count)) * share[-1], right=True
    )
    return chosen.clamp(max=classes - 1)


def balanced_labels(count: int, classes: int) -> Int[Tensor, "N"]:
    """Every class as often as every other: 0, 1, ..., classes - 1, 0, 1, ..."""
    return torch.arange(count) % classes


def check_labels(label: Int[Tensor, "N"], classes: int) -> None:
    """Raise BadInput for a label that a model of so many classes does not know."""
    wrong = label[(label < 0) | (label >= classes)].unique().tolist()
    if wrong:
        listed = ", ".join(str(each) for each in wrong[:8])
        raise BadInput(
            f"found labels {listed}, but the model knows {classes} classes; expected numbers from "
            f"0 to {classes - 1}. Ask for these, or for labels=none"
        )
