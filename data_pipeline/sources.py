"""Where images come from before they are packed: a folder of class folders, or scanned digits."""

import posixpath
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from typing import Literal
from typing import Protocol

import fsspec.core
import numpy as np
from pydantic import Field

from data_pipeline.decode import encode_png
from data_pipeline.index import IMAGE_EXTENSIONS
from system.foundation.errors import DataError
from system.foundation.settings.record import Record


class Digits(Record):
    """The 1,797 handwritten digits bundled with scikit-learn: 8x8, grey, real scans."""

    kind: Literal["digits"] = "digits"


class ImageFolder(Record):
    """A folder of class folders of images, as ImageNet unpacks; class names are sorted."""

    kind: Literal["image_folder"] = "image_folder"
    url: str = Field(description="folder or url that holds one folder per class")


SourceRecipe = Annotated[Digits | ImageFolder, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a source, before its bytes are read."""

    key: str
    label: int
    extension: str
    length: int  # bytes


class Source(Protocol):
    """An indexed collection of labelled images."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes; a label is an index into them."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All images, before any is read."""

    @property
    def ignored(self) -> Sequence[str]:
        """Files that are no images by their names."""

    def read(self, index: int) -> bytes:
        """The encoded image of entry `index`."""


def open_source(recipe: Digits | ImageFolder) -> Source:
    """The source that a recipe names. Raises DataError where it is missing, empty or ambiguous."""
    source: Source = DigitsSource() if recipe.kind == "digits" else ImageFolderSource(recipe.url)
    keys: dict[str, int] = {}
    for index, entry in enumerate(source.entries):
        if keys.setdefault(entry.key, index) != index:
            raise DataError(
                f"two images have the key {entry.key!r} (extensions "
                f"{source.entries[keys[entry.key]].extension!r} and {entry.extension!r}). Rename "
                "or remove one: a key names one sample, and dots in names count as underscores."
            )
    return source


class DigitsSource:
    """Digits as lossless grey PNGs, `digits-0000` and on, in the order of scikit-learn."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits  # seconds to import; only packing digits needs it

        digits = load_digits()
        values = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        self._images = [encode_png(value[:, :, None]) for value in values]
        self.class_names = tuple(str(name) for name in digits.target_names)
        self.ignored: tuple[str, ...] = ()
        self.entries = tuple(
            Entry(f"digits-{index:04d}", int(label), "png", len(self._images[index]))
            for index, label in enumerate(digits.target)
        )

    def read(self, index: int) -> bytes:
        """The PNG of entry `index`."""
        return self._images[index]


class ImageFolderSource:
    """Images below class folders, at any fsspec url; the key is the path without its extension."""

    def __init__(self, url: str) -> None:
        self._filesystem, root = fsspec.core.url_to_fs(url)
        if not self._filesystem.isdir(root):
            raise DataError(
                f"{url}: no such folder; expected one folder per class, each with images."
            )
        images: dict[str, list[tuple[str, int]]] = defaultdict(list)
        ignored = []
        for path, info in sorted(self._filesystem.find(root, detail=True).items()):
            relative = posixpath.relpath(path, root)
            class_name, _, rest = relative.partition("/")
            if rest and _extension(relative) in IMAGE_EXTENSIONS:
                images[class_name].append((path, info["size"]))
            else:
                ignored.append(relative)
        if not images:
            raise DataError(
                f"{url}: no images in class folders among {len(ignored)} files; expected "
                f"CLASS/NAME with an extension of {', '.join(IMAGE_EXTENSIONS)}."
            )
        self._paths = [path for members in images.values() for path, _ in members]
        self.class_names = tuple(images)
        self.ignored = tuple(ignored)
        self.entries = tuple(
            Entry(_key(posixpath.relpath(path, root)), label, _extension(path), size)
            for label, members in enumerate(images.values())
            for path, size in members
        )

    def read(self, index: int) -> bytes:
        """The bytes of entry `index` as they are."""
        return bytes(self._filesystem.cat_file(self._paths[index]))


def _extension(path: str) -> str:
    return posixpath.splitext(path)[1][1:].lower()


def _key(relative: str) -> str:
    # WebDataset cuts a name at the first dot of its last part, so the key may hold none there.
    folder, name = posixpath.split(posixpath.splitext(relative)[0])
    return posixpath.join(folder, name.replace(".", "_"))
