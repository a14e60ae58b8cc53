"""Every source of images there is, and how a worker opens one from its record."""

from typing import Annotated

from pydantic import Field

from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.drawn import open_drawn
from system.evaluation.sources.source import Source

AnySource = Annotated[DrawnImages, Field()]


def open_source(record: AnySource, device: str = "cpu") -> Source:
    """The set of images that a record describes. Raises BadInput where it is not what it was."""
    return open_drawn(record, device)
