"""Images of a folder of PNG files, in the order of their names.

JPEG files are refused: compression moves the Frechet distance by more than most papers claim to
improve it, so a folder of them measures the compression.

Source: Parmar et al. 2022, arXiv 2104.11222 (clean-fid), its study of JPEG.
"""

import io
from collections.abc import Iterator
from typing import Literal
from typing import NamedTuple

import numpy as np
import torch
import xxhash
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from data_pipeline.images.decode import EXTENSIONS
from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import decode
from system.evaluation.sources.source import Source
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

CHANNELS: dict[str, Literal[1, 3]] = {"L": 1, "RGB": 3}
TRIED = 16  # images whose levels are looked at before anything is computed
LISTED = 3


class FolderImages(Record):
    """The PNG files of a folder."""

    kind: Literal["folder"] = "folder"
    url: str
    digest: str  # of the bytes of all files, in the order of their names
    count: PositiveInt  # the first so many are meant
    stored: PositiveInt
    height: PositiveInt
    width: PositiveInt
    channels: Literal[1, 3]


class Shape(NamedTuple):
    """What a PNG file's header says."""

    height: int
    width: int
    channels: Literal[1, 3]


def folder_images(url: str) -> FolderImages:
    """The PNG files of a folder; every file is read once, for the digest.

    Raises DataError where there are none, where images of other formats lie among them, or where
    they differ in size or are not 8-bit grey or colour.
    """
    names = _png_names(url)
    state, shape, highest = xxhash.xxh3_128(), None, 0
    for number, name in enumerate(names):
        place = storage.join(url, name)
        content = storage.read_bytes(place)
        found = _shape_of(content, place)
        shape = shape or found
        if found != shape:
            raise DataError(
                f"{place} is {_words(found)}, and {names[0]} before it is {_words(shape)}; "
                "expected images of one size. Put others into a folder of their own"
            )
        state.update(len(content).to_bytes(8, "little") + content)
        if number < TRIED:
            highest = max(highest, int(_pixels(content, place, shape).max()))
    assert shape is not None
    if highest <= 1:
        raise DataError(
            f"{url}: no pixel of the first {min(TRIED, len(names))} images is above {highest}; "
            "expected levels from 0 to 255. Images in [0, 1] were saved before they were "
            "multiplied by 255"
        )
    return FolderImages(
        url=storage.absolute(url),
        digest=state.hexdigest(),
        count=len(names),
        stored=len(names),
        height=shape.height,
        width=shape.width,
        channels=shape.channels,
    )


class FolderSource(Source):
    """An opened folder."""

    def __init__(self, record: FolderImages, names: list[str]) -> None:
        self._record = record
        self._names = names

    def images(self, index: range) -> UInt8[Tensor, "N C H W"]:
        """The images of these numbers. Raises DataError for a file that cannot be decoded."""
        shape = Shape(self._record.height, self._record.width, self._record.channels)
        pixels = np.stack([*self._read(index, shape)])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def _read(self, index: range, shape: Shape) -> Iterator[UInt8[np.ndarray, "H W C"]]:
        for number in index:
            place = storage.join(self._record.url, self._names[number])
            yield _pixels(storage.read_bytes(place), place, shape)


def open_folder(record: FolderImages) -> FolderSource:
    """The folder of a record. Raises DataError where it has other files by now."""
    names = _png_names(record.url)
    if len(names) != record.stored:
        raise DataError(
            f"{record.url}: found {len(names)} PNG files, and there were {record.stored} when "
            "their digest was taken. Measure the folder again, once nothing is written there"
        )
    return FolderSource(record, names)


def _png_names(url: str) -> list[str]:
    names = storage.list_names(url)
    images = [name for name in names if name.lower().rpartition(".")[2] in EXTENSIONS]
    others = [name for name in images if not name.lower().endswith(".png")]
    if others:
        raise DataError(
            f"{url}: found {len(others)} images that are no PNG ({_listed(others)}); expected PNG "
            "files alone. JPEG and its like change what a detector sees, and the distance with it: "
            "write the samples again as PNG, or as arr_0 of an npz"
        )
    if not images:
        raise DataError(
            f"{url}: found no PNG file among {len(names)} entries"
            + (f" ({_listed(names)})" if names else "")
            + "; expected the images in the folder itself, not in folders below it"
        )
    return images


def _shape_of(content: bytes, place: str) -> Shape:
    """What the header says, of the file's own format. Raises DataError for any but 8-bit PNG."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            mode, (width, height) = image.mode, image.size
    except (OSError, SyntaxError) as problem:
        raise DataError(
            f"{place} is no PNG file, whatever its name says ({problem}); expected one"
        ) from problem
    if mode not in CHANNELS:
        raise DataError(
            f"{place} is a PNG of mode {mode}; expected RGB or L (8 bits per channel, no alpha, no "
            "palette). Convert it, and look at what the conversion does to its colours"
        )
    return Shape(height, width, CHANNELS[mode])


def _pixels(content: bytes, place: str, shape: Shape) -> UInt8[np.ndarray, "H W C"]:
    try:
        image = decode(content, shape.channels).image
    except BadSample as problem:
        raise DataError(
            f"{place} cannot be decoded ({problem}); expected a whole PNG file. No image is left "
            "out: draw it again, or copy it again"
        ) from problem
    if image.shape != shape:
        raise DataError(f"{place} is {image.shape}, and was {tuple(shape)}: it was written over")
    return image


def _words(shape: Shape) -> str:
    return f"{shape.height}x{shape.width} of {shape.channels} channels"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
