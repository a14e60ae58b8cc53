"""A folder of class folders of images, at any fsspec url, as a source."""

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import Literal

from pydantic import Field

from data_pipeline.images.decode import EXTENSIONS
from data_pipeline.images.decode import BadSample
from data_pipeline.shards.shard import Split
from data_pipeline.sources.class_map import ClassMap
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
    held_out_url: str | None = Field(
        None, description="another with images of these classes, to be held out; null: none"
    )
    class_map: str | None = Field(
        None, description="file with label and name of each folder; null: by sorted names"
    )


class FolderReader:
    """Reads files; a place is the path below the folder, and the split where that has its own."""

    def __init__(self, recipe: ImageFolder) -> None:
        self._urls = {"train": recipe.url, "held_out": recipe.held_out_url or recipe.url}
        is_local = all(storage.is_local(url) for url in self._urls.values())
        self.concurrency = 1 if is_local else REMOTE_CONCURRENCY

    def read(self, entry: Entry) -> bytes:
        """The bytes of a file as they are. Raises BadSample where it may not be read."""
        path, *split = entry.place
        root = self._urls[str(split[0])] if split else self._urls["train"]
        if not storage.is_local(root):
            url = storage.join(root, str(path))
            return patiently(url, lambda: self._whole(url, entry.length))
        place = f"{root.removeprefix('file://')}/{path}"
        data = self._of_disk(place)
        if len(data) != entry.length:
            raise DataError(
                f"{place}: has {len(data)} bytes, and had {entry.length} when the folder was "
                f"listed. {_LEAVE_IT_ALONE}"
            )
        return data

    def where(self, entry: Entry) -> str:
        """The path below the folder of its split."""
        return str(entry.place[0])

    def _whole(self, url: str, length: int) -> bytes:
        try:
            data = storage.read_bytes(url)
        except FileNotFoundError as problem:
            raise _gone(url) from problem
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
            raise _gone(path) from problem
        except OSError as problem:
            raise StorageError(f"cannot read {path}: {problem}") from problem


def _gone(place: str) -> DataError:
    return DataError(f"{place}: gone since the folder was listed. {_LEAVE_IT_ALONE}")


def open_image_folder(recipe: ImageFolder) -> Source:
    """All images below class folders; the key is the path without its extension.

    Raises DataError where there is no such folder, no image in it, or a class the map lacks.
    """
    ignored: list[str] = []
    images = _images(recipe.url, ignored)
    chosen = (
        alphabetical(images, recipe.url)
        if recipe.class_map is None
        else read_class_map(recipe.class_map)
    )
    if recipe.held_out_url is None:
        entries = [*_entries(images, chosen, None)]
    else:
        held_out = _images(recipe.held_out_url, ignored)
        entries = [*_entries(images, chosen, "train"), *_entries(held_out, chosen, "held_out")]
    return Source(chosen.names, tuple(entries), tuple(ignored), FolderReader(recipe))


def _images(url: str, ignored: list[str]) -> dict[str, list[tuple[str, int]]]:
    """Path and bytes of every image, by class folder; other files are added to `ignored`."""
    images: dict[str, list[tuple[str, int]]] = defaultdict(list)
    others = []
    for relative, size in _files(url):
        class_name, _, rest = relative.partition("/")
        reason = why_unsafe(relative)
        if rest and is_image(relative) and reason is None:
            images[class_name].append((relative, size))
        else:
            others.append(relative if reason is None else f"{relative!r} ({reason})")
    if not images:
        raise DataError(
            f"{url}: no images in class folders among {len(others)} files; expected "
            f"CLASS/NAME with an extension of {', '.join(EXTENSIONS)}."
        )
    ignored += others
    return images


def _entries(
    images: Mapping[str, list[tuple[str, int]]], classes: ClassMap, split: Split | None
) -> Iterator[Entry]:
    of_split = () if split is None else (split,)
    for name, members in images.items():
        label = classes.label(name)
        for path, size in members:
            place = (path, *of_split)
            yield Entry(key_of(path), label, extension_of(path), size, split, place)


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
