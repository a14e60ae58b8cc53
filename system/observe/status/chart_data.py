"""The charts of a run's report as data that the page's script draws, dense lines thinned.

What stands in which chart is the report's to say (`report.panels`, `report.figures`); nothing is
chosen anew here but the order: what is looked at all day comes first.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from system.observe.report.chart import Chart
from system.observe.report.chart import Series
from system.observe.report.figures import classifier_chart
from system.observe.report.figures import noise_charts
from system.observe.report.figures import panel_charts
from system.observe.report.figures import training_charts
from system.observe.report.folder import RunFolder
from system.observe.report.panels import DENSITY
from system.observe.report.panels import DRAWN
from system.observe.report.panels import LATENTS
from system.observe.report.panels import RECONSTRUCTED
from system.observe.status.thinning import thinned

FIRST = (
    "gFID",
    "throughput",
    "objective",
    "density of the training latents",
    "pixel distance",
    "rFID",
)
MOST_POINTS = 400  # of a line: more would be finer than the picture


def chart_contents(run: RunFolder, *, most: int = MOST_POINTS) -> dict[str, dict[str, Any]]:
    """Every chart of which something was measured, by its title, in the order of the page."""
    found = [
        chart_content(chart, group, most=most)
        for group, chart in _charts(run)
        if any(series.points for series in chart.series)
    ]
    found.sort(key=lambda content: (_place(content["title"]), content["group"] != "first"))
    return {content["title"]: content | {"order": n} for n, content in enumerate(found)}


def chart_content(chart: Chart, group: str, *, most: int = MOST_POINTS) -> dict[str, Any]:
    """One chart as data."""
    return {
        "title": chart.title,
        "group": "first" if chart.title in FIRST else group,
        "unit": chart.unit,
        "note": chart.note,
        "axis": chart.axis,
        "share": chart.is_share,
        "log": chart.is_log,
        "breaks": [at for at in chart.breaks if at],
        "series": [_series(each, most) for each in chart.series],
    }


def _charts(run: RunFolder) -> Iterator[tuple[str, Chart]]:
    groups: tuple[tuple[str, Sequence[Chart]], ...] = (
        ("Drawn images", panel_charts(run, DRAWN)),
        ("Reconstruction", panel_charts(run, RECONSTRUCTED)),
        ("Training", training_charts(run)),
        ("Density and classes", [classifier_chart(run), *panel_charts(run, DENSITY)]),
        ("Latents", [*panel_charts(run, LATENTS), *noise_charts(run)]),
    )
    for group, charts in groups:
        for chart in charts:
            yield group, chart


def _place(title: str) -> int:
    return FIRST.index(title) if title in FIRST else len(FIRST)


def _series(series: Series, most: int) -> dict[str, Any]:
    points = thinned(series.points, most)
    ends = [point.interval or (None, None) for point in points]
    return {
        "label": series.label,
        "form": series.form,
        "colour": series.colour,
        "x": [point.at for point in points],
        "y": [_short(point.value) for point in points],
        "low": [_short(low) for low, _ in ends] if any(low is not None for low, _ in ends) else [],
        "high": [_short(high) for _, high in ends] if any(h is not None for _, h in ends) else [],
        "says": [point.says for point in points] if any(point.says for point in points) else [],
    }


def _short(value: float | None) -> float | None:
    """Six digits: more cannot be seen, and every poll carries them."""
    return None if value is None else float(f"{value:.6g}")
