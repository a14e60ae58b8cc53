"""A folder of class folders of images, at any fsspec url, as a source."""

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import Any
from typing import Literal

from pydantic import Field

from data_pipeline.images.decode import EXTENSIONS
from data_pipeline.images.decode import BadSample
from data_pipeline.sources.class_map import alphabetical
from data_pipeline.sources.class_map import read_class_map
from data_pipeline.sources.entry import Entry
from data_pipeline.sources.entry import Source
from data_pipeline.sources.entry import extension_of
from data_pipeline.sources.entry import is_image
from data_pipeline.sources.entry import key_of
from data_pipeline.sources.entry import why_unsafe
from data_pipeline.sources.patience import patiently
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.errors import StorageError
from system.foundation.settings.record import Record

REMOTE_CONCURRENCY = 16
_LEAVE_IT_ALONE = (
    "Let nobody change the source while it is packed, and start the same command again."
)


class ImageFolder(Record):
    """A folder of class folders of images, as ImageNet unpacks; class names are sorted."""

    kind: Literal["image_folder"] = "image_folder"
    url: str = Field(description="folder or url that holds one folder per class")
    class_map: str | None = Field(
        None, description="file with label and name of each folder; null: by sorted names"
    )


class FolderReader:
    """Reads files; a place is the path below the folder."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.concurrency = 1 if storage.is_local(url) else REMOTE_CONCURRENCY

    @cached_property
    def _local(self) -> str | None:
        return str(storage.local_path(self._url)) if storage.is_local(self._url) else None

    def read(self, entry: Entry) -> bytes:
        """The bytes of a file as they are. Raises BadSample where it may not be read."""
        relative = str(entry.place[0])
        if self._local is None:
            url = storage.join(self._url, relative)
            return patiently(url, lambda: self._whole(url, entry.length))
        data = self._of_disk(f"{self._local}/{relative}")
        if len(data) != entry.length:
            raise DataError(
                f"{self._local}/{relative}: has {len(data)} bytes, and had {entry.length} when the "
                f"folder was listed. {_LEAVE_IT_ALONE}"
            )
        return data

    def _whole(self, url: str, length: int) -> bytes:
        data = storage.read_bytes(url)
        if len(data) != length:
            raise StorageError(f"{url}: got {len(data)} bytes, expected {length} as listed")
        return data

    def _of_disk(self, path: str) -> bytes:
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read()
        except PermissionError as problem:
            raise BadSample("unreadable: permission denied") from problem
        except FileNotFoundError as problem:
            if os.path.islink(path):
                raise BadSample("unreadable: a link to nothing") from problem
            raise DataError(
                f"{path}: gone since the folder was listed. {_LEAVE_IT_ALONE}"
            ) from problem
        except OSError as problem:
            raise StorageError(f"cannot read {path}: {problem}") from problem


def open_image_folder(recipe: ImageFolder) -> Source:
    """All images below class folders; the key is the path without its extension.

    Raises DataError where there is no such folder, no image in it, or a class the map lacks.
    """
    images: dict[str, list[tuple[str, int]]] = defaultdict(list)
    ignored = []
    for relative, size in _files(recipe.url):
        class_name, _, rest = relative.partition("/")
        reason = why_unsafe(relative)
        if rest and is_image(relative) and reason is None:
            images[class_name].append((relative, size))
        else:
            ignored.append(relative if reason is None else f"{relative!r} ({reason})")
    if not images:
        raise DataError(
            f"{recipe.url}: no images in class folders among {len(ignored)} files; expected "
            f"CLASS/NAME with an extension of {', '.join(EXTENSIONS)}."
        )
    chosen = (
        alphabetical(images, recipe.url)
        if recipe.class_map is None
        else read_class_map(recipe.class_map)
    )
    entries = tuple(
        Entry(key_of(path), label, extension_of(path), size, place=(path,))
        for label, members in ((chosen.label(name), members) for name, members in images.items())
        for path, size in members
    )
    return Source(chosen.names, entries, tuple(ignored), FolderReader(recipe.url))


def _files(url: str) -> Iterator[tuple[str, int]]:
    """Path below the folder and bytes of every file, sorted; one class folder at a time."""
    filesystem, root = storage.open_filesystem(url)
    if not filesystem.isdir(root):
        raise DataError(f"{url}: no such folder; expected one folder per class, each with images.")
    for info in sorted(filesystem.ls(root, detail=True), key=lambda info: str(info["name"])):
        path = str(info["name"]).rstrip("/")
        if posixpath.relpath(path, root) == ".":
            continue  # an object store may list the folder itself
        found: dict[str, Any] = {path: info}
        if info["type"] == "directory" or (info["type"] == "other" and filesystem.isdir(path)):
            found = filesystem.find(path, detail=True)
        for each in sorted(found):
            yield posixpath.relpath(each, root), int(found[each]["size"])
