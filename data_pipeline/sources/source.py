"""Where images come from before they are packed: class folders, scanned digits, photographs."""

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

from data_pipeline.images.decode import encode_png
from data_pipeline.shards.index import IMAGE_EXTENSIONS
from data_pipeline.shards.manifest import Split
from data_pipeline.sources.photographs import CLASS_NAMES
from data_pipeline.sources.photographs import classes_of
from data_pipeline.sources.photographs import cut_patches
from system.foundation.errors import DataError
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record


class Digits(Record):
    """The 1,797 handwritten digits bundled with scikit-learn: 8x8, grey, real scans."""

    kind: Literal["digits"] = "digits"


class Photographs(Record):
    """Colour patches of the two photographs bundled with scikit-learn, in eight made-up classes.

    They bring splits of their own, which share no pixel: see photographs.py.
    """

    kind: Literal["photographs"] = "photographs"
    size: PositiveInt = Field(16, le=43, description="side of a patch, pixels")
    stride: PositiveInt = Field(8, description="pixels between neighbouring patches of a tile")


class ImageFolder(Record):
    """A folder of class folders of images, as ImageNet unpacks; class names are sorted."""

    kind: Literal["image_folder"] = "image_folder"
    url: str = Field(description="folder or url that holds one folder per class")


SourceRecipe = Annotated[Digits | Photographs | ImageFolder, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a source, before its bytes are read."""

    key: str
    label: int
    extension: str
    length: int  # bytes
    split: Split | None = None  # None where the packer may choose


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


def open_source(recipe: Digits | Photographs | ImageFolder) -> Source:
    """The source that a recipe names. Raises DataError where it is missing, empty or ambiguous."""
    source: Source
    match recipe:
        case Digits():
            source = DigitsSource()
        case Photographs():
            source = PhotographsSource(recipe.size, recipe.stride)
        case ImageFolder():
            source = ImageFolderSource(recipe.url)
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


class PhotographsSource:
    """Patches as lossless colour PNGs, `china-128-064` and on: photograph, row, column."""

    def __init__(self, size: int, stride: int) -> None:
        from sklearn.datasets import load_sample_images  # see DigitsSource

        patches = cut_patches(load_sample_images().images, size, stride)
        self._images = [encode_png(patch.image) for patch in patches]
        self.class_names = CLASS_NAMES
        self.ignored: tuple[str, ...] = ()
        self.entries = tuple(
            Entry(patch.key, int(label), "png", len(data), patch.split)
            for patch, label, data in zip(patches, classes_of(patches), self._images, strict=True)
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
