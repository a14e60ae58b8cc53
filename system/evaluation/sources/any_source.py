"""Every source of images there is, and how a worker opens one from its record."""

from typing import Annotated

from pydantic import Field

from system.evaluation.sources.archive import ArchiveImages
from system.evaluation.sources.archive import open_archive
from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.drawn import open_drawn
from system.evaluation.sources.folder import FolderImages
from system.evaluation.sources.folder import open_folder
from system.evaluation.sources.reconstructed import ReconstructedImages
from system.evaluation.sources.reconstructed import open_reconstructed
from system.evaluation.sources.shards import ShardImages
from system.evaluation.sources.shards import open_shards
from system.evaluation.sources.soundness import Soundness
from system.evaluation.sources.soundness import open_soundness
from system.evaluation.sources.source import Source

AnySource = Annotated[
    DrawnImages | Soundness | ReconstructedImages | ShardImages | ArchiveImages | FolderImages,
    Field(discriminator="kind"),
]


def open_source(record: AnySource, device: str = "cpu", in_flight: int = 1) -> Source:
    """The set of images that a record describes; `device` is where a model computes, and
    `in_flight` how many batches it draws at once, which changes no bit.

    Raises BadInput where it is not what it was when the record was made.
    """
    match record:
        case DrawnImages():
            return open_drawn(record, device, in_flight)
        case Soundness():
            return open_soundness(record, device, in_flight)
        case ReconstructedImages():
            return open_reconstructed(record, device)
        case ShardImages():
            return open_shards(record)
        case ArchiveImages():
            return open_archive(record)
        case FolderImages():
            return open_folder(record)
