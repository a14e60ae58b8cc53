"""Every source of images there is, and how a worker opens one from its record."""

from typing import Annotated

from pydantic import Field

from system.evaluation.sources.archive import ArchiveImages
from system.evaluation.sources.archive import open_archive
from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.drawn import open_drawn
from system.evaluation.sources.folder import FolderImages
from system.evaluation.sources.folder import open_folder
from system.evaluation.sources.shards import ShardImages
from system.evaluation.sources.shards import open_shards
from system.evaluation.sources.source import Source

AnySource = Annotated[
    DrawnImages | ShardImages | ArchiveImages | FolderImages, Field(discriminator="kind")
]


def open_source(record: AnySource, device: str = "cpu") -> Source:
    """The set of images that a record describes. Raises BadInput where it is not what it was."""
    if isinstance(record, ShardImages):
        return open_shards(record)
    if isinstance(record, ArchiveImages):
        return open_archive(record)
    if isinstance(record, FolderImages):
        return open_folder(record)
    return open_drawn(record, device)
