import base64
import io

import numpy as np
from PIL import Image

from system.observe.report.pictures import MOST_PIXELS
from system.observe.report.pictures import MOST_STRIPS
from system.observe.report.pictures import data_uri
from system.observe.report.pictures import first_cells
from system.observe.report.pictures import open_picture
from system.observe.report.pictures import shown_picture
from system.observe.report.pictures import strips
from tests.system.observe.report.conftest import picture


def decoded(uri: str) -> Image.Image:
    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_a_strip_is_the_first_cell_of_every_row():
    strip = first_cells(open_picture(picture(side=4, rows=3, shade=200)))
    assert strip.size == (12, 4)
    assert [strip.getpixel((4 * row, 0)) for row in range(3)] == [200, 180, 160]


def test_large_cells_are_made_smaller():
    strip = first_cells(open_picture(picture(side=130, rows=2)))
    assert strip.size == (128, 64)


def test_a_picture_that_is_no_grid_has_no_strip():
    assert first_cells(Image.new("L", (37, 12))) is None
    assert first_cells(Image.new("L", (40, 3))) is None


def test_of_very_many_checkpoints_some_are_shown_first_and_last_among_them():
    text = strips({seen: picture() for seen in range(1000, 101_000, 1000)})
    assert text.count("<img") == MOST_STRIPS
    assert "<th>1,000</th>" in text
    assert "<th>100,000</th>" in text


def test_a_damaged_picture_is_said_to_be_damaged():
    cut = picture()[:60]
    assert open_picture(cut) is None
    assert "damaged" in strips({1000: cut})
    assert "no picture" in shown_picture(cut, "<b>")
    assert "<b>" not in shown_picture(cut, "<b>")


def test_a_picture_arrives_as_it_is_and_never_wider_than_the_page():
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    assert np.array_equal(np.asarray(decoded(data_uri(image))), np.asarray(image))
    wide = decoded(data_uri(Image.new("L", (2 * MOST_PIXELS, 100))))
    assert wide.size == (MOST_PIXELS, 50)
