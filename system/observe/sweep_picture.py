"""A sweep as one picture: the score over guidance (or temperature), a line for each other setting.

Bars are 95 % intervals of single cells; they are wide where differences are sure, because all cells
share their noise. So the best cell has a ring, and those tied with it are filled. A cross on the
axis stands for a cell whose images were not finite.
"""

import io
from collections.abc import Mapping
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from system.evaluation.sweep_record import Cell
from system.evaluation.sweep_record import Sweep
from system.foundation import storage
from system.observe.curves import COLOURS
from system.observe.curves import GRID
from system.observe.curves import INK
from system.observe.curves import STYLE

WIDTH, HEIGHT = 6.0, 4.2  # inches of a panel
FAILED = 0.02  # how high on its axis a cross stands


def draw_sweep(sweep: Sweep) -> bytes:
    """The picture as PNG: a panel for each averaging decay."""
    decays = list(dict.fromkeys(cell.averaging_decay for cell in sweep.cells))
    with plt.style.context("default"), plt.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * len(decays), HEIGHT), layout="constrained", dpi=120)
        panels = figure.subplots(1, len(decays), sharey=True, squeeze=False)[0]
        for axes, decay in zip(panels, decays, strict=True):
            axes.set_title(f"averaging decay {decay:g}")
            _draw(axes, sweep, decay)
        panels[0].set_ylabel(_score(sweep))
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
    return picture.getvalue()


def write_sweep_picture(sweep: Sweep, folder: str) -> str:
    """Draw a sweep beside its record; the url it has there."""
    url = sweep.place(folder, "png")
    storage.write_bytes(url, draw_sweep(sweep))
    return url


def axis_of(cells: Sequence[Cell]) -> tuple[str, str]:
    """What the axis along the bottom shows, and what the lines stand for."""
    guidances = {cell.guidance for cell in cells}
    return ("guidance", "temperature") if len(guidances) > 1 else ("temperature", "guidance")


def _score(sweep: Sweep) -> str:
    name = next((cell.measured.name for cell in sweep.cells if cell.measured is not None), "score")
    return f"{name.removeprefix('evaluation/')}, {sweep.count} images, corrected"


def _draw(axes: Axes, sweep: Sweep, decay: float) -> None:
    along, beside = axis_of(sweep.cells)
    steps = sorted({getattr(cell, along) for cell in sweep.cells})
    axes.set_xticks(range(len(steps)), [f"{step:g}" for step in steps])
    axes.set_xlim(-0.5, len(steps) - 0.5)
    axes.set_xlabel(along)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    cells = [cell for cell in sweep.cells if cell.averaging_decay == decay]
    for place, level in enumerate(sorted({getattr(cell, beside) for cell in cells})):
        chosen = [cell for cell in cells if getattr(cell, beside) == level]
        line = {steps.index(getattr(cell, along)): cell for cell in chosen}
        colour = COLOURS[place % len(COLOURS)]
        _draw_line(axes, line, colour, f"{beside} {level:g}")
    best = None if sweep.best is None else sweep.cells[sweep.best]
    if best is not None and best.averaging_decay == decay:
        axes.plot(
            steps.index(getattr(best, along)), _corrected(best), marker="o", markersize=13,
            color=INK, markerfacecolor="none", linestyle="none", label="best",
        )  # fmt: skip
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best", fontsize=8)


def _draw_line(axes: Axes, line: Mapping[int, Cell], colour: str, label: str) -> None:
    """The cells of a line by their places along the bottom."""
    sound = sorted(at for at, cell in line.items() if cell.measured is not None)
    values = [_corrected(line[at]) for at in sound]
    if sound:
        bars = np.array([_reach(line[at]) for at in sound]).T
        axes.errorbar(sound, values, yerr=bars, color=colour, linewidth=1.5, capsize=2, label=label)
    for at, value in zip(sound, values, strict=True):
        face = colour if line[at].is_tied else "white"
        axes.plot(at, value, marker="o", markersize=5, color=colour, markerfacecolor=face)
    for at in sorted(set(line) - set(sound)):
        axes.plot(
            at, FAILED, marker="x", color=colour, transform=axes.get_xaxis_transform(),
            linestyle="none",
        )  # fmt: skip


def _corrected(cell: Cell) -> float:
    assert cell.measured is not None, "a failed cell has no value"
    value = cell.measured.corrected
    return cell.measured.value if value is None else value


def _reach(cell: Cell) -> tuple[float, float]:
    """How far a cell's interval reaches to below and above its corrected value."""
    assert cell.measured is not None, "a failed cell has no interval"
    value = _corrected(cell)
    low, high = cell.measured.interval or (value, value)
    return max(value - low, 0.0), max(high - value, 0.0)
