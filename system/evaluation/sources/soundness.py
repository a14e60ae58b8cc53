"""Which images of a drawing are broken: in the place of each, one pixel that is 1 where it is.

A set with broken images is never measured. How many there are is asked of this source, for all of
them, in units like any other: the same number on any workers.
"""

from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from system.evaluation.rounding import broken
from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.drawn import DrawnSource
from system.evaluation.sources.drawn import open_drawn
from system.evaluation.sources.source import Source
from system.foundation.settings.record import Record


class Soundness(Record):
    """The drawing whose images are looked at."""

    kind: Literal["soundness"] = "soundness"
    drawn: DrawnImages

    @property
    def count(self) -> int:
        """How many images there are."""
        return self.drawn.count


class SoundnessSource(Source):
    """An opened drawing whose images are only looked at."""

    def __init__(self, drawn: DrawnSource) -> None:
        self.drawn = drawn

    def images(self, index: range) -> UInt8[Tensor, "N 1 1 1"]:
        """1 for each of these images with a pixel that is not finite, else 0."""
        found = torch.zeros(len(index), 1, 1, 1, dtype=torch.uint8)
        for numbers, pixels in self.drawn.pixels(index):
            for number in broken(pixels, numbers):
                found[number - index.start] = 1
        return found


def open_soundness(record: Soundness, device: str, in_flight: int = 1) -> SoundnessSource:
    """Read the weights. Raises CheckpointError where they are not those of the record."""
    return SoundnessSource(open_drawn(record.drawn, device, in_flight))
