"""A chart as inline SVG: lines and dots with error bars over one axis, in the page's own colours.

Colours are classes (`c0` to `c5`), so that one style sheet serves light and dark.
"""

import math
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from system.observe.curves import short

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 58, 12, 38
TICKS = 5
DODGE = 3
LABEL = 12  # height of a line of text
MOST_POINTS = 400  # of a line: more would be finer than the picture
COLOURS = 6


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a place, with the ends of its interval where it has one."""

    at: float
    value: float
    interval: tuple[float, float] | None = None
    says: str = ""  # shown when the pointer rests on it


@dataclass(frozen=True, slots=True)
class Series:
    """Points that belong together. Dots are measured, hollow ones corrected, a line is dense."""

    label: str
    points: Sequence[Point]
    form: Literal["dots", "hollow", "line", "faint", "level"] = "dots"
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture: what it shows, in which unit, and a sentence on how to read it."""

    title: str
    unit: str
    series: Sequence[Series]
    note: str = ""
    axis: str = "images seen"
    is_share: bool = False
    is_log: bool = False
    breaks: Sequence[float] = ()  # places where an attempt began again


def draw_chart(chart: Chart) -> str:
    """The chart as a figure with its title, legend, picture and note; "" without a point."""
    series = [_finite(each) for each in chart.series]
    series = [each for each in series if each.points]
    if not series:
        return ""
    legend = "".join(
        f'<li><span class="key {each.form} c{each.colour % COLOURS}"></span>'
        f"{escape(each.label)}</li>"
        for each in series
        if each.form != "faint" and len(series) > 1
    )
    legend = f'<ul class="legend">{legend}</ul>' if legend else ""
    unit = f' <span class="unit">{escape(chart.unit)}</span>' if chart.unit else ""
    note = f"<p>{escape(chart.note)}</p>" if chart.note else ""
    return (
        f'<figure class="chart"><figcaption>{escape(chart.title)}{unit}</figcaption>'
        f"{legend}{_svg(chart, series)}{note}</figure>"
    )


def _finite(series: Series) -> Series:
    points = [point for point in series.points if math.isfinite(point.value)]
    if len(points) > MOST_POINTS:
        step = len(points) / MOST_POINTS
        points = [points[int(i * step)] for i in range(MOST_POINTS - 1)] + [points[-1]]
    return Series(series.label, points, series.form, series.colour)


def _svg(chart: Chart, series: Sequence[Series]) -> str:
    places = [point.at for each in series for point in each.points if each.form != "level"]
    values = [value for each in series for point in each.points for value in _extent(point)]
    is_log = chart.is_log and min(values) > 0
    x, x_ticks = _scale((*places, 0.0), (LEFT, WIDTH - RIGHT), is_log=False, padded=False)
    y, y_ticks = _scale(values, (HEIGHT - BOTTOM, TOP), is_log=is_log, padded=True)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *(_horizontal(y(tick), _tick(tick, chart)) for tick in y_ticks),
        *(
            f'<text class="tick" x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" '
            f'text-anchor="middle">{escape(short(tick))}</text>'
            for tick in x_ticks
        ),
        f'<text class="tick" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" '
        f'text-anchor="middle">{escape(chart.axis)}</text>',
        *(
            f'<line class="break" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{TOP}" '
            f'y2="{HEIGHT - BOTTOM}"><title>an attempt began here</title></line>'
            for at in chart.breaks
        ),
        *(_drawn(each, x, y, chart) for each in series),
        _ends(series, y, chart),
        "</svg>",
    ]
    return "".join(parts)


def _extent(point: Point) -> tuple[float, ...]:
    ends = point.interval or ()
    return (point.value, *(end for end in ends if math.isfinite(end)))


def _horizontal(height: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
        f'<text class="tick" x="{LEFT - 7}" y="{height + 3.5:.1f}" text-anchor="end">'
        f"{escape(label)}</text>"
    )


def _drawn(
    series: Series, x: Callable[[float], float], y: Callable[[float], float], chart: Chart
) -> str:
    colour = f"c{series.colour % COLOURS}"
    if series.form == "level":
        height = y(series.points[-1].value)
        return (
            f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" '
            f'y2="{height:.1f}"><title>{escape(series.label)}: '
            f"{_value(series.points[-1].value, chart)}</title></line>"
        )
    aside = DODGE * series.colour if series.form in ("dots", "hollow") else 0
    line = " ".join(f"{x(point.at) + aside:.1f},{y(point.value):.1f}" for point in series.points)
    parts = [f'<polyline class="{series.form} {colour}" points="{line}"/>']
    if series.form in ("dots", "hollow"):
        parts += [_dot(point, series, (x(point.at), y), chart) for point in series.points]
    return "".join(parts)


def _dot(
    point: Point, series: Series, place: tuple[float, Callable[[float], float]], chart: Chart
) -> str:
    across, y = place
    across += DODGE * series.colour  # so that bars at one place stand side by side
    colour, bar = f"c{series.colour % COLOURS}", ""
    says = (
        f"{series.label}, {chart.axis} {point.at:,.6g}: {point.says or _value(point.value, chart)}"
    )
    if point.interval is not None:
        low, high = (y(end) for end in point.interval)
        bar = (
            f'<path class="bar {colour}" d="M{across:.1f} {low:.1f}V{high:.1f}'
            f'M{across - 3:.1f} {low:.1f}h6M{across - 3:.1f} {high:.1f}h6"/>'
        )
    return (
        f'{bar}<circle class="{series.form} {colour}" cx="{across:.1f}" '
        f'cy="{y(point.value):.1f}" r="3.2"><title>{escape(says)}</title></circle>'
    )


def _ends(series: Sequence[Series], y: Callable[[float], float], chart: Chart) -> str:
    """The last value of each line at the right edge, moved apart where two would touch."""
    wanted = sorted(
        (y(each.points[-1].value), place)
        for place, each in enumerate(series)
        if each.form != "faint"
    )
    heights = _apart([height for height, _ in wanted])
    aside = DODGE * max((each.colour for each in series if each.form == "dots"), default=0)
    parts = []
    for height, (_, place) in zip(heights, wanted, strict=True):
        each = series[place]
        colour = "tick" if each.form == "level" else f"end c{each.colour % COLOURS}"
        parts.append(
            f'<text class="{colour}" x="{WIDTH - RIGHT + 7 + aside}" y="{height + 3.5:.1f}">'
            f"{escape(_value(each.points[-1].value, chart))}</text>"
        )
    return "".join(parts)


def _apart(heights: Sequence[float]) -> list[float]:
    """Ascending heights moved down as far as labels need, and then up again above the axis."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + LABEL) if found else height)
    limit = HEIGHT - BOTTOM + LABEL / 4
    for place in reversed(range(len(found))):
        found[place] = min(found[place], limit)
        limit = found[place] - LABEL
    return found


def _value(value: float, chart: Chart) -> str:
    return f"{100 * value:.3g} %" if chart.is_share else short_value(value)


def _tick(value: float, chart: Chart) -> str:
    return f"{100 * value:.3g} %" if chart.is_share else short(value)


def short_value(value: float) -> str:
    """Three digits, counts from ten thousand on with their letter."""
    if abs(value) >= 1e4:
        return short(float(value))
    return f"{value:#.3g}".rstrip(".") if abs(value) >= 1e-3 else f"{value:.3g}"


def _scale(
    values: Sequence[float], ends: tuple[float, float], *, is_log: bool, padded: bool
) -> tuple[Callable[[float], float], list[float]]:
    """Where a value stands between two ends of the picture, and the round values to name."""
    low, high = min(values), max(values)
    if is_log:
        low, high = math.log10(low), math.log10(high)
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    elif padded:
        low, high = low - 0.06 * (high - low), high + 0.06 * (high - low)

    def place(value: float) -> float:
        on_axis = math.log10(value) if is_log and value > 0 else low if is_log else value
        return ends[0] + (ends[1] - ends[0]) * (on_axis - low) / (high - low)

    ticks = _log_ticks(low, high) if is_log else _ticks(low, high)
    return place, ticks


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two, about TICKS of them."""
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 of every decade, or its powers alone where there are many."""
    steps = (1, 2, 5) if high - low < 2.5 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    ticks = [each * 10.0**power for power in decades for each in steps]
    inside = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return inside if len(inside) > 1 else [10**each for each in _ticks(low, high)]
