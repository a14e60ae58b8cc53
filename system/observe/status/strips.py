"""What a run drew over time from the same noise: a column of cells for every checkpoint.

A checkpoint's grid is read once; what is kept of it is its small column, the first cell of every
row, from top to bottom, so that time goes to the right as it does in the curves.
"""

import base64
import io
from typing import Any

from PIL import Image

from system.foundation import storage
from system.foundation.errors import StorageError
from system.observe.report.pictures import data_uri
from system.observe.report.pictures import first_cells
from system.observe.report.pictures import open_picture

FOLDER = "samples"
MOST_COLUMNS = 60
CELL = 48  # pixels of a cell, at most
MOST_ROWS = 10  # of a column: of a grid with more classes the first ones


class Strips:
    """The columns of one run, read as its pictures come."""

    def __init__(self, url: str) -> None:
        self._folder = storage.join(url, FOLDER)
        self._columns: dict[tuple[str, int], dict[str, Any]] = {}

    def columns(self) -> list[dict[str, Any]]:
        """Every column in order of images seen, each with its picture as a data url, or what is
        wrong with it. Of very many every n-th, the newest among them."""
        sizes = storage.list_sizes(self._folder)
        grids = sorted((int(stem), name) for name in sizes if (stem := _stem(name)))
        stride = -(-len(grids) // MOST_COLUMNS) or 1
        shown = grids[::-1][::stride][::-1]
        wanted = {(name, sizes[name]): seen for seen, name in shown}
        self._columns = {key: self._columns.get(key) or self._read(*key) for key in wanted}
        return [{"images": seen, **self._columns[key]} for key, seen in wanted.items()]

    def grid(self, images_seen: int) -> str | None:
        """The whole grid of a checkpoint as a data url; None where there is none to be read."""
        for name in storage.list_names(self._folder):
            if (stem := _stem(name)) and int(stem) == images_seen:
                picture = open_picture(storage.read_bytes(storage.join(self._folder, name)))
                return None if picture is None else data_uri(picture)
        return None

    def _read(self, name: str, size: int) -> dict[str, Any]:
        try:
            picture = open_picture(storage.read_bytes(storage.join(self._folder, name)))
        except (OSError, StorageError) as problem:
            return {"fault": str(problem)}
        strip = None if picture is None else first_cells(picture)
        if strip is None:
            return {"fault": f"{name} ({size:,} bytes) is no grid of pictures that can be read"}
        column = upright(strip)
        content = io.BytesIO()
        column.save(content, "png", optimize=True)
        return {
            "picture": "data:image/png;base64," + base64.b64encode(content.getvalue()).decode(),
            "width": column.width,
            "height": column.height,
        }


def upright(strip: Image.Image) -> Image.Image:
    """The cells of a row, one below the other, no larger than they are shown."""
    side = strip.height
    cells = min(strip.width // side, MOST_ROWS)
    column = Image.new(strip.mode, (side, side * cells))
    for place in range(cells):
        column.paste(strip.crop((place * side, 0, (place + 1) * side, side)), (0, place * side))
    if side > CELL:
        column = column.resize((CELL, CELL * cells), Image.Resampling.LANCZOS)
    return column


def _stem(name: str) -> str | None:
    stem, _, ending = name.rpartition(".")
    return stem if ending == "png" and stem.isdecimal() else None
