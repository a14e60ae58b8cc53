import base64
import io
from pathlib import Path

from PIL import Image

from system.observe.status.strips import MOST_COLUMNS
from system.observe.status.strips import Strips
from system.observe.status.strips import upright
from tests.system.observe.report.conftest import picture


def opened(data_url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2])))


def test_a_column_for_every_checkpoint_of_the_first_cell_of_every_row(run_url):
    first, second = Strips(run_url).columns()
    assert (first["images"], second["images"]) == (1000, 2000)
    column = opened(second["picture"])
    assert column.size == (second["width"], second["height"]) == (4, 12)
    assert [column.getpixel((1, y)) for y in (1, 5, 9)] == [200, 180, 160]


def test_the_strip_grows_and_reads_a_picture_once(run_url):
    strips, folder = Strips(run_url), Path(run_url) / "samples"
    before = strips.columns()
    (folder / "000000003000.png").write_bytes(picture())
    (folder / "interpolation.png").write_bytes(picture())
    after = strips.columns()
    assert [each["images"] for each in after] == [1000, 2000, 3000]
    assert after[:2] == before


def test_a_damaged_picture_is_said_and_hides_no_other(run_url):
    (Path(run_url) / "samples" / "000000001500.png").write_bytes(b"no picture")
    columns = Strips(run_url).columns()
    assert [("picture" in each, "fault" in each) for each in columns] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    assert "000000001500.png" in columns[1]["fault"]


def test_of_very_many_the_newest_is_there(tmp_path):
    (tmp_path / "samples").mkdir()
    for seen in range(1, 3 * MOST_COLUMNS):
        (tmp_path / "samples" / f"{seen:012d}.png").write_bytes(picture(side=1, rows=1))
    columns = Strips(str(tmp_path)).columns()
    assert len(columns) <= MOST_COLUMNS
    assert columns[-1]["images"] == 3 * MOST_COLUMNS - 1


def test_the_whole_grid_is_asked_for_by_its_images(run_url):
    strips = Strips(run_url)
    assert opened(strips.grid(1000)).size == (40, 12)
    assert strips.grid(1) is None
    assert Strips("memory://nothing/there").columns() == []


def test_large_cells_are_made_as_small_as_they_are_shown():
    assert upright(Image.new("RGB", (256 * 20, 256))).size == (48, 480)
