"""Pictures as data inside the page: what was drawn over time from the same noise, and the rest.

The grid of a checkpoint has a row per class and always the same noise and labels, so that cell i of
every grid is the same picture at another time. A strip is the first cell of every row.
"""

import base64
import io
from collections.abc import Mapping
from html import escape

import numpy as np
from PIL import Image
from PIL import UnidentifiedImageError

COLUMNS = 10  # of a checkpoint's grid
MOST_STRIPS = 16
STRIP_CELL = 64  # pixels of a strip's cell, at most
MOST_PIXELS = 1200  # of a picture's width in the page


def open_picture(content: bytes) -> Image.Image | None:
    """The picture, fully decoded; None where the file is damaged."""
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None
    return picture.convert("RGB") if picture.mode not in ("L", "RGB") else picture


def data_uri(picture: Image.Image) -> str:
    """A picture as the address of itself, no wider than the page."""
    if picture.width > MOST_PIXELS:
        height = round(picture.height * MOST_PIXELS / picture.width)
        picture = picture.resize((MOST_PIXELS, height), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def shown_picture(content: bytes, title: str, note: str = "") -> str:
    """A figure of one picture; a line that says so where it is damaged."""
    picture = open_picture(content)
    if picture is None:
        return f'<p class="fault">{escape(title)}: the file is no picture that can be read</p>'
    return (
        f'<figure class="picture"><figcaption>{escape(title)}</figcaption>'
        f'<img src="{data_uri(picture)}" alt="{escape(title)}" width="{picture.width}" '
        f'height="{picture.height}"><p>{escape(note)}</p></figure>'
    )


def strips(grids: Mapping[int, bytes]) -> str:
    """The first cell of every row at up to MOST_STRIPS checkpoints, one under the other."""
    places = sorted(grids)
    if len(places) > MOST_STRIPS:
        chosen = np.linspace(0, len(places) - 1, MOST_STRIPS).round().astype(int)
        places = [places[i] for i in chosen]
    rows = []
    for seen in places:
        picture = open_picture(grids[seen])
        strip = None if picture is None else first_cells(picture)
        shown = (
            '<span class="fault">damaged</span>'
            if strip is None
            else f'<img src="{data_uri(strip)}" alt="drawn at {seen:,} images seen" '
            f'width="{strip.width}" height="{strip.height}">'
        )
        rows.append(f"<tr><th>{seen:,}</th><td>{shown}</td></tr>")
    return f'<table class="strips"><tbody>{"".join(rows)}</tbody></table>' if rows else ""


def first_cells(grid: Image.Image) -> Image.Image | None:
    """The first cell of every row, side by side; None for a picture that is no such grid."""
    side = grid.width // COLUMNS
    rows = grid.height // side if side else 0
    if not rows or grid.width != side * COLUMNS or grid.height != side * rows:
        return None
    strip = Image.new(grid.mode, (side * rows, side))
    for row in range(rows):
        strip.paste(grid.crop((0, row * side, side, (row + 1) * side)), (row * side, 0))
    if side > STRIP_CELL:
        strip = strip.resize((STRIP_CELL * rows, STRIP_CELL), Image.Resampling.LANCZOS)
    return strip
