"""Images drawn from a checkpoint: image i is a function of weights, label and (seed, i) alone."""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import UInt8
from torch import Tensor

from system.evaluation.drawing import Wanted
from system.evaluation.drawing import draw_pixels
from system.evaluation.labels import check_labels
from system.evaluation.passes import passes
from system.evaluation.protocol import Drawing
from system.evaluation.rounding import Rule
from system.evaluation.rounding import broken
from system.evaluation.rounding import quantised
from system.evaluation.rounding import refuse_broken
from system.evaluation.sources.source import Source
from system.evaluation.subject import Subject
from system.evaluation.subject import read_known
from system.evaluation.subject import subject_digest
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record


class DrawnImages(Record):
    """Which images to draw: the weights, how, and for which classes."""

    kind: Literal["drawn"] = "drawn"
    checkpoint: str  # absolute path or url
    decay: float | None  # of the average that is meant; None for the recipe's first
    digest: str  # of the averaged weights and the architecture
    drawing: Drawing
    rounding: Rule
    label: tuple[int, ...] | None  # of each image; None for no class
    count: PositiveInt


def drawn_images(
    subject: Subject,
    checkpoint: str,
    drawing: Drawing,
    label: Int[Tensor, "N"] | None,
    *,
    count: int,
    rounding: Rule = "half_to_even",
    decay: float | None = None,
) -> DrawnImages:
    """The first `count` images of a checkpoint whose weights, averaged by `decay`, `subject` holds.

    Raises BadInput where it has no flow, or for a label that its model does not know.
    """
    assert label is None or len(label) == count, f"{count} images, labels {label}"
    if not subject.has_flow:
        raise BadInput(
            f"checkpoint={checkpoint} is of a run that trained no flow (objective.route="
            f"{subject.recipe.objective.route}): there is nothing to draw from. Expected a run "
            "that trained one"
        )
    if label is not None:
        check_labels(label, subject.recipe.data.classes)
    return DrawnImages(
        checkpoint=storage.absolute(checkpoint),
        decay=subject.decay if decay is None else decay,
        digest=subject_digest(subject),
        drawing=drawing,
        rounding=rounding,
        label=None if label is None else tuple(label.tolist()),
        count=count,
    )


class DrawnSource(Source):
    """An opened checkpoint that draws, with so many passes under way at once."""

    def __init__(self, record: DrawnImages, subject: Subject, in_flight: int = 1) -> None:
        self.record = record
        self.subject = subject
        self.in_flight = in_flight
        self.label = None if record.label is None else torch.tensor(record.label)

    def images(self, index: range) -> UInt8[Tensor, "N C H W"]:
        """These images, drawn in passes of a fixed size.

        Raises NumericsError for those that are not finite, all counted; none is drawn again.
        """
        parts, bad = [], []
        for number, drawn in self.pixels(index):
            bad += broken(drawn, number)
            parts.append(quantised(drawn, self.record.rounding))
        refuse_broken(bad, len(index))
        return torch.cat(parts)

    def pixels(self, index: range) -> Iterator[tuple[range, Float[Tensor, "B C H W"]]]:
        """These images by pass, with their numbers, as the decoder gives them, broken ones among
        them."""
        parts = [*passes(index)]
        wanted = [Wanted(whole, self._label(whole)) for whole, _ in parts]
        drawn = draw_pixels(self.subject, self.record.drawing, wanted, self.in_flight)
        for (whole, asked), pixels in zip(parts, drawn, strict=True):
            yield whole[asked], pixels[asked]

    def _label(self, index: range) -> Int[Tensor, "B"] | None:
        """The labels of a pass; beyond the last image the last one's fills it up."""
        if self.label is None:
            return None
        return self.label[torch.arange(index.start, index.stop).clamp(max=self.record.count - 1)]


def open_drawn(record: DrawnImages, device: str, in_flight: int = 1) -> DrawnSource:
    """Read the weights. Raises CheckpointError where they are not those of the record."""
    subject = read_known(record.checkpoint, record.digest, device, decay=record.decay)
    return DrawnSource(record, subject, in_flight)
