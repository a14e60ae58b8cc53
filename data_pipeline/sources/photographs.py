"""Colour patches cut from the two photographs that scikit-learn carries, with classes by a rule.

Each photograph (427 by 640 pixels: a pagoda by a lake, a dahlia before dark leaves) is laid out in
tiles of 64 pixels, those at its lower and right edge smaller. Every fifth tile, in a knight's move
lattice, is held out; patches are cut inside tiles, so that no pixel is in both splits.

A class is one of eight: the photograph, then whether the patch is plain or textured, then whether
it is cool or warm. Texture is the standard deviation of the brightness, warmth the mean of red less
blue; each is cut at the median of the training patches that the class shares so far, so that the
classes of the training split are of one size. Patches near a cut are what keeps the task from
being trivial.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
from jaxtyping import Float64
from jaxtyping import Int64
from jaxtyping import UInt8
from pydantic import Field

from data_pipeline.images.decode import encode_png
from data_pipeline.shards.manifest import Split
from data_pipeline.sources.entry import Entry
from data_pipeline.sources.entry import Source
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

PHOTOGRAPHS = ("china", "flower")
TILE = 64
HELD_OUT_EVERY = 5
BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
CLASS_NAMES = tuple(
    f"{photograph}-{texture}-{warmth}"
    for photograph, texture, warmth in product(PHOTOGRAPHS, ("plain", "textured"), ("cool", "warm"))
)


class Photographs(Record):
    """Colour patches of the two photographs bundled with scikit-learn, in eight made-up classes.

    They bring splits of their own, which share no pixel: see photographs.py.
    """

    kind: Literal["photographs"] = "photographs"
    size: PositiveInt = Field(16, le=43, description="side of a patch, pixels")
    stride: PositiveInt = Field(8, description="pixels between neighbouring patches of a tile")


class PhotographsReader:
    """Patches as lossless colour PNGs; a place is the number of the patch."""

    concurrency = 1

    def __init__(self, recipe: Photographs) -> None:
        self._recipe = recipe

    @cached_property
    def patches(self) -> "list[Patch]":
        """All patches, cut."""
        from sklearn.datasets import load_sample_images  # seconds to import, as for the digits

        return cut_patches(load_sample_images().images, self._recipe.size, self._recipe.stride)

    def read(self, entry: Entry) -> bytes:
        """The PNG of an entry."""
        return encode_png(self.patches[int(entry.place[0])].image)

    def where(self, entry: Entry) -> str:
        """The number of the patch."""
        return f"patch {entry.place[0]}"


def open_photographs(recipe: Photographs) -> Source:
    """All patches, `china-128-064` and on: photograph, row, column."""
    reader = PhotographsReader(recipe)
    entries = tuple(
        Entry(patch.key, int(label), "png", len(encode_png(patch.image)), patch.split, (index,))
        for index, (patch, label) in enumerate(
            zip(reader.patches, classes_of(reader.patches), strict=True)
        )
    )
    return Source(CLASS_NAMES, entries, (), reader)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One patch: which photograph it is from, and the row and column of its corner there."""

    image: UInt8[np.ndarray, "H W 3"]
    photograph: int
    row: int
    column: int
    split: Split

    @property
    def key(self) -> str:
        """Its name in the shards."""
        return f"{PHOTOGRAPHS[self.photograph]}-{self.row:03d}-{self.column:03d}"


def cut_patches(
    photographs: list[UInt8[np.ndarray, "_ _ 3"]], size: int, stride: int
) -> list[Patch]:
    """All patches of `size` pixels, `stride` apart inside each tile, in raster order of tiles."""
    return [
        patch
        for number, photograph in enumerate(photographs)
        for patch in _of_photograph(photograph, number, size, stride)
    ]


def classes_of(patches: list[Patch]) -> Int64[np.ndarray, "N"]:
    """The class of every patch, an index into `CLASS_NAMES`."""
    texture = np.array([_texture(patch.image) for patch in patches])
    warmth = np.array([_warmth(patch.image) for patch in patches])
    train = np.array([patch.split == "train" for patch in patches])
    label = np.array([patch.photograph for patch in patches])
    for quality in (texture, warmth):
        label = 2 * label + _above_median(quality, label, train)
    return label


def _of_photograph(
    photograph: UInt8[np.ndarray, "_ _ 3"], number: int, size: int, stride: int
) -> Iterator[Patch]:
    height, width, _ = photograph.shape
    for tile_row, tile_column in product(range(-(-height // TILE)), range(-(-width // TILE))):
        is_held_out = (2 * tile_row + tile_column) % HELD_OUT_EVERY == 0
        top, left = tile_row * TILE, tile_column * TILE
        rows = range(top, min(top + TILE, height) - size + 1, stride)
        columns = range(left, min(left + TILE, width) - size + 1, stride)
        for row, column in product(rows, columns):
            image = photograph[row : row + size, column : column + size]
            yield Patch(image, number, row, column, "held_out" if is_held_out else "train")


def _texture(image: UInt8[np.ndarray, "H W 3"]) -> float:
    return float((image.astype(np.float64) @ np.array(BRIGHTNESS)).std())


def _warmth(image: UInt8[np.ndarray, "H W 3"]) -> float:
    colour = image.astype(np.float64).mean(axis=(0, 1))
    return float(colour[0] - colour[2])


def _above_median(
    quality: Float64[np.ndarray, "N"], label: Int64[np.ndarray, "N"], train: np.ndarray
) -> Int64[np.ndarray, "N"]:
    """Whether each patch lies above the median of the training patches of its class so far."""
    above = np.zeros_like(label)
    for one in np.unique(label):
        same = label == one
        above[same] = quality[same] > np.median(quality[same & train])
    return above
