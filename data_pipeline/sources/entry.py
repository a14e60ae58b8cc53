"""What every source gives: a list of labelled images, and a reader that any process can rebuild.

A source is listed once, by the process that plans the shards. What it lists travels: an entry has
its place in the source, and a reader made from the recipe alone finds its bytes there.
"""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from data_pipeline.images.decode import EXTENSIONS
from data_pipeline.shards.manifest import Split
from data_pipeline.sources.patience import patiently
from system.foundation import storage
from system.foundation.errors import DataError

Place = tuple[str | int, ...]  # what a reader needs beside its recipe to find an image


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a source, before its bytes are read."""

    key: str
    label: int
    extension: str  # as named in the source; empty where nothing names it
    length: int  # bytes; an estimate where only reading would tell
    split: Split | None = None  # None where the packer may choose
    place: Place = ()
    block: str = ""  # what is read in one piece; images of a block stay neighbours in the shards


class Reader(Protocol):
    """Reads the images of a source; made from the recipe alone, without listing anything."""

    concurrency: int  # reads that are worth having under way at once

    def read(self, entry: Entry) -> bytes:
        """The encoded image. Raises BadSample where this one image cannot be had."""

    def where(self, entry: Entry) -> str:
        """Where it lies in the source, for people: a file, a member of an archive, a row."""


@dataclass(frozen=True, slots=True)
class Source:
    """An indexed collection of labelled images."""

    class_names: tuple[str, ...]  # a label is an index into them
    entries: Sequence[Entry]  # all images, before any is read
    ignored: tuple[str, ...]  # files that are no images by their names
    reader: Reader

    def read(self, entry: Entry) -> bytes:
        """The encoded image of an entry."""
        return self.reader.read(entry)


def read_given(url: str, setting: str) -> bytes:
    """A file that a setting of the source names. Raises DataError where there is none."""
    try:
        return patiently(url, lambda: storage.read_bytes(url))
    except FileNotFoundError as problem:
        raise DataError(
            f"{url}: no such file; expected the one that source.{setting} names."
        ) from problem


def extension_of(path: str) -> str:
    """What follows the last dot of a path, in small letters."""
    return posixpath.splitext(path)[1][1:].lower()


def is_image(path: str) -> bool:
    """Whether a path is named as an image."""
    return extension_of(path) in EXTENSIONS


def key_of(relative: str) -> str:
    """The key of an image at a path: the path without its extension.

    WebDataset cuts a name at the first dot of its last part, so the key may hold none there.
    """
    folder, name = posixpath.split(posixpath.splitext(relative)[0])
    return posixpath.join(folder, name.replace(".", "_"))


def why_unsafe(relative: str) -> str | None:
    """Why a name from outside cannot be part of a key; None where it can.

    Keys become names in tars that others unpack: none may lead out of the folder.
    """
    if relative.startswith("/") or "\\" in relative:
        return "an absolute or foreign path"
    if any(part in ("", ".", "..") for part in relative.split("/")):
        return "a path that leaves its folder"
    if not relative.isprintable():  # also what was no UTF-8
        return "a name with unprintable characters"
    return None
