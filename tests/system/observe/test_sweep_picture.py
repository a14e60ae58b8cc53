"""The picture of a sweep, whatever was swept."""

import io

import numpy as np
import pytest
from PIL import Image

from system.evaluation.protocol import Measurement
from system.evaluation.sweep_record import Cell
from system.evaluation.sweep_record import Sweep
from system.observe.sweep_picture import axis_of
from system.observe.sweep_picture import draw_sweep
from system.observe.sweep_picture import write_sweep_picture
from tests.system.evaluation.test_protocol import PROTOCOL


def cell(guidance: float, temperature: float, decay: float, corrected: float | None) -> Cell:
    measured = None
    if corrected is not None:
        measured = Measurement(
            name="evaluation/gfid", value=corrected, corrected=corrected, standard_error=0.1,
            interval=(corrected - 0.2, corrected + 0.3), protocol=PROTOCOL,
        )  # fmt: skip
    return Cell(
        guidance=guidance,
        temperature=temperature,
        averaging_decay=decay,
        content="a" * 32,
        measured=measured,
        broken=int(measured is None),
        is_tied=guidance == 1,
    )


def sweep(*cells: Cell) -> Sweep:
    values = [place for place, one in enumerate(cells) if one.measured is not None]
    return Sweep(
        images_seen=5, checkpoint="c", preset="digits", count=80, fresh_count=80, cells=cells,
        best=values[0] if values else None, fresh=(), over_seeds=None,
    )  # fmt: skip


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_a_panel_for_each_average_and_a_place_for_each_guidance():
    one = [cell(g, t, 0.5, 2 + g * t) for g in (0, 1, 2) for t in (0.9, 1)]
    two = [cell(g, t, 0.9, 2.5 + g * t) for g in (0, 1, 2) for t in (0.9, 1)]
    narrow, wide = pixels(draw_sweep(sweep(*one))), pixels(draw_sweep(sweep(*one, *two)))
    assert wide.shape[1] == 2 * narrow.shape[1]
    moved = [*one[:-1], cell(2, 1, 0.5, 2.2)]
    assert (pixels(draw_sweep(sweep(*moved))) != narrow).any()


def test_what_has_one_value_stands_for_lines():
    assert axis_of([cell(0, 1, 0.5, 1.0), cell(1, 1, 0.5, 1.0)]) == ("guidance", "temperature")
    assert axis_of([cell(0, 1, 0.5, 1.0), cell(0, 2, 0.5, 1.0)]) == ("temperature", "guidance")


@pytest.mark.parametrize("corrected", [None, 1.0])
def test_failed_cells_are_shown_too(corrected, tmp_path):
    shown = sweep(cell(0, 1, 0.5, corrected), cell(1e30, 1, 0.5, None))
    url = write_sweep_picture(shown, str(tmp_path))
    assert url == f"{tmp_path}/sweep/000000000005-digits.png"
    content = (tmp_path / "sweep" / "000000000005-digits.png").read_bytes()
    alone = sweep(cell(0, 1, 0.5, 2.0), cell(1e30, 1, 0.5, 2.0))
    assert (pixels(content) != pixels(draw_sweep(alone))).any()
