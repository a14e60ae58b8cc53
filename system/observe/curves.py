"""The curves of a run as one picture, from its ledger: losses, density, gFID, accuracy, speed.

Every panel has images_seen as its clock. What was trained twice (after a restart, from the
checkpoint on) is drawn once: of two values at the same place the later counts.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.ticker import PercentFormatter

from system.foundation import storage
from system.telemetry.ledger import Event
from system.telemetry.ledger import read_ledger

INK, GRID, FAINT = "#22303c", "#dfe5ea", "#8a97a3"
COLOURS = ("#1f6f8b", "#d1495b", "#edae49", "#66a182", "#6d597a")
SMOOTHING = 0.35
STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.edgecolor": FAINT,
    "axes.labelcolor": INK, "xtick.color": FAINT, "ytick.color": FAINT,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlesize": 10, "legend.frameon": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the images seen, with its uncertainty where that was measured."""

    images: Float[np.ndarray, "n"]
    values: Float[np.ndarray, "n"]
    errors: Float[np.ndarray, "n"] | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True)
class Panel:
    """What stands in one of the pictures."""

    title: str
    unit: str
    metrics: tuple[tuple[str, str], ...]  # label, metric
    floor: str | None = None
    is_share: bool = False
    is_log: bool = False


PANELS = (
    Panel("density of the training latents", "nats per dimension", (("nll", "loss/nll_nats"),)),
    Panel("reconstruction", "pixel distance", (("training", "loss/reconstruction"),), is_log=True),
    Panel(
        "held-out density",
        "bits per dimension",
        (
            ("of the noisy latent", "evaluation/bits_per_dim"),
            ("less the posterior's entropy", "evaluation/rate_bits_per_dim"),
        ),
    ),
    Panel(
        "distance of drawn to real",
        "Fréchet distance",
        (
            ("gFID", "evaluation/gfid"),
            ("gFID, no guidance", "evaluation/gfid_unguided"),
            ("rFID", "evaluation/rfid"),
        ),
        floor="evaluation/gfid_floor",
        is_log=True,
    ),
    Panel(
        "accuracy",
        "",
        (
            ("drawn as asked", "evaluation/conditional_accuracy"),
            ("Bayes classifier", "evaluation/bayes_accuracy"),
            ("gradient classifier", "evaluation/gradient_accuracy"),
        ),
        is_share=True,
    ),
    Panel("throughput", "images per second", (("all workers", "throughput/images_per_s"),)),
)


def curve(events: Sequence[Event], metric: str) -> Curve:
    """A metric's course. The events are in order of time, so the later of two values stays."""
    found: dict[int, tuple[float, float | None]] = {}
    for event in events:
        values = event.get("values") or {}
        if event["kind"] in ("report", "evaluation") and values.get(metric) is not None:
            error = values.get(f"{metric}_standard_error")
            found[event["images_seen"]] = (values[metric], error)
    images = sorted(found)
    errors = [found[at][1] for at in images]
    return Curve(
        np.array(images, float),
        np.array([found[at][0] for at in images], float),
        None if None in errors or not errors else np.array(errors, float),
    )


def smooth(values: Float[np.ndarray, "n"], weight: float = SMOOTHING) -> Float[np.ndarray, "n"]:
    """The running mean with exponential weights, without a pull towards its start."""
    mean, out = 0.0, np.empty_like(values)
    for i, value in enumerate(values):
        mean += weight * (value - mean)
        out[i] = mean / (1 - (1 - weight) ** (i + 1))
    return out


def draw_curves(events: Sequence[Event], title: str) -> bytes:
    """The picture as PNG."""
    with plt.style.context("default"), plt.rc_context(STYLE):
        figure = Figure(figsize=(13, 7), layout="constrained", dpi=120)
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        for axes, panel in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
            _draw(axes, panel, events)
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
    return picture.getvalue()


def write_curves(run_url: str, *, title: str) -> str:
    """Draw a run's ledger into `curves.png` in the run's folder; the url it has there."""
    url = storage.join(run_url, "curves.png")
    storage.write_bytes(url, draw_curves(read_ledger(run_url), title))
    return url


def _draw(axes: Axes, panel: Panel, events: Sequence[Event]) -> None:
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    axes.set_xlabel("images seen")
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: short(n)))
    drawn = 0
    for colour, (label, metric) in zip(COLOURS, panel.metrics, strict=False):
        course = curve(events, metric)
        if len(course):
            drawn += 1
            _draw_curve(axes, course, colour, label, dense=not metric.startswith("evaluation/"))
    if panel.is_log and drawn:
        axes.set_yscale("log")
    if panel.is_share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if panel.floor is not None and len(floor := curve(events, panel.floor)):
        axes.axhline(
            floor.values[-1], color=FAINT, linestyle=(0, (4, 3)), label="two halves of real images"
        )
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(loc="best", fontsize=8)
    if drawn:
        axes.set_xlim(left=0)
    else:
        axes.text(
            0.5, 0.5, "nothing measured yet", transform=axes.transAxes, ha="center", color=FAINT
        )


def _draw_curve(axes: Axes, course: Curve, colour: str, label: str, *, dense: bool) -> None:
    """Many points as a faint trace under their running mean; few as dots with error bars."""
    if dense:
        axes.plot(course.images, course.values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(course.images, smooth(course.values), color=colour, linewidth=1.8, label=label)
        return
    axes.errorbar(
        course.images, course.values, yerr=course.errors, color=colour, label=label,
        marker="o", markersize=4, linewidth=1.5, capsize=2,
    )  # fmt: skip
    axes.annotate(
        f"{course.values[-1]:.3g}", (course.images[-1], course.values[-1]),
        xytext=(5, 0), textcoords="offset points", color=colour, fontsize=8, va="center",
    )  # fmt: skip


def short(count: float) -> str:
    """A count with at most three digits: 25k, 1.2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.3g}"
