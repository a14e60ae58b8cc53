"""Where images come from before they are packed: which kinds there are, and opening one."""

from typing import Annotated

from pydantic import Field

from data_pipeline.sources.digits import Digits
from data_pipeline.sources.digits import DigitsReader
from data_pipeline.sources.digits import open_digits
from data_pipeline.sources.entry import Reader
from data_pipeline.sources.entry import Source
from data_pipeline.sources.ilsvrc2012 import Ilsvrc2012
from data_pipeline.sources.ilsvrc2012 import IlsvrcReader
from data_pipeline.sources.ilsvrc2012 import open_ilsvrc2012
from data_pipeline.sources.image_folder import FolderReader
from data_pipeline.sources.image_folder import ImageFolder
from data_pipeline.sources.image_folder import open_image_folder
from data_pipeline.sources.parquet import Parquet
from data_pipeline.sources.parquet import ParquetReader
from data_pipeline.sources.parquet import open_parquet
from data_pipeline.sources.photographs import Photographs
from data_pipeline.sources.photographs import PhotographsReader
from data_pipeline.sources.photographs import open_photographs

AnySource = Digits | Photographs | ImageFolder | Ilsvrc2012 | Parquet
SourceRecipe = Annotated[AnySource, Field(discriminator="kind")]


def open_source(recipe: AnySource, keep: str | None = None) -> Source:
    """The source that a recipe names, listed. Raises DataError where it is missing or empty.

    `keep` is a folder in which what took long to list may be kept for the next time.
    """
    match recipe:
        case Digits():
            return open_digits()
        case Photographs():
            return open_photographs(recipe)
        case ImageFolder():
            return open_image_folder(recipe)
        case Ilsvrc2012():
            return open_ilsvrc2012(recipe, keep)
        case Parquet():
            return open_parquet(recipe)


def open_reader(recipe: AnySource) -> Reader:
    """What reads the images of that source, for entries that were listed elsewhere."""
    match recipe:
        case Digits():
            return DigitsReader()
        case Photographs():
            return PhotographsReader(recipe)
        case ImageFolder():
            return FolderReader(recipe)
        case Ilsvrc2012():
            return IlsvrcReader(recipe)
        case Parquet():
            return ParquetReader(recipe)
