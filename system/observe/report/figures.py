"""What goes into each chart of a report, out of a run's folder.

What was never measured is no chart; `missing` says what it is and which command measures it.
"""

import math
from collections.abc import Sequence

from system.observe.curves import curve
from system.observe.curves import smooth
from system.observe.report.chart import Chart
from system.observe.report.chart import Point
from system.observe.report.chart import Series
from system.observe.report.folder import Number
from system.observe.report.folder import RunFolder
from system.observe.report.numbers import shown
from system.observe.report.panels import AS_REPORTED
from system.observe.report.panels import CLASSIFIERS
from system.observe.report.panels import DENSITY
from system.observe.report.panels import DRAWN
from system.observe.report.panels import LATENTS
from system.observe.report.panels import NOISE_LEVELS
from system.observe.report.panels import ON_LOG_AXES
from system.observe.report.panels import RECONSTRUCTED
from system.observe.report.panels import TRAINING
from system.observe.report.panels import Panel

PROBE = "evaluation/probe_"
WIDE = 8.0  # largest over smallest value, from which an axis is logarithmic


def panel_charts(run: RunFolder, panels: Sequence[Panel]) -> list[Chart]:
    """The panels of which something was measured."""
    charts = (panel_chart(run, panel) for panel in panels)
    return [chart for chart in charts if chart.series]


def panel_chart(run: RunFolder, panel: Panel) -> Chart:
    """A panel's chart; without series where nothing of it was measured."""
    series: list[Series] = []
    for colour, (label, metric) in enumerate(panel.lines):
        course = run.course(metric)
        if not course:
            continue
        series.append(Series(label, [_point(one) for one in course], "dots", colour))
        corrected = [
            Point(
                one.images_seen,
                one.corrected,
                one.interval() if one.is_of_corrected else None,
                shown(one),
            )
            for one in course
            if one.corrected not in (None, one.value)
        ]
        if corrected:
            series.append(Series(f"{label}, corrected", corrected, "hollow", colour))
    floor = run.newest(panel.floor) if panel.floor else None
    if series and floor is not None:
        label = "floor" if "floor" in floor.name else "the judge on real images"
        series.append(Series(label, [_point(floor)], "level"))
    others = sum(run.left_out(metric) for _, metric in panel.lines)
    note = panel.note + (
        f" {others} of other protocols stand in the table alone." if others else ""
    )
    return Chart(
        panel.title,
        panel.unit,
        series,
        note.strip(),
        is_share=panel.is_share,
        is_log=not panel.is_share and _spans_much(series),
    )


def classifier_chart(run: RunFolder) -> Chart:
    """The classifiers of held-out images, with the best linear probe of each checkpoint."""
    chart = panel_chart(run, CLASSIFIERS)
    best = [best_probe(run, seen) for seen in sorted({one.images_seen for one in run.numbers})]
    points = [_point(one) for one in best if one is not None]
    series = [*chart.series, *([Series("best linear probe", points, "dots", 3)] if points else [])]
    return Chart(chart.title, chart.unit, series, chart.note, is_share=True)


def best_probe(run: RunFolder, images_seen: int | None = None) -> Number | None:
    """The most accurate linear probe of trained weights at a checkpoint, or at the newest that
    has one."""
    probes = [
        one
        for one in run.numbers
        if one.name.startswith(PROBE)
        and one.name.endswith("_trained_accuracy")
        and (images_seen is None or one.images_seen == images_seen)
    ]
    newest = max((one.images_seen for one in probes), default=0)
    return max(
        (one for one in probes if one.images_seen == newest),
        key=lambda one: one.value,
        default=None,
    )


def noise_charts(run: RunFolder) -> list[Chart]:
    """Reconstruction under noise of growing strength, at every checkpoint analysed."""
    charts = []
    for title, unit, pattern in (
        ("rFID under latent noise", "Fréchet distance", "evaluation/rfid_noise_{}"),
        ("PSNR under latent noise", "dB", "evaluation/psnr_noise_{}_db"),
    ):
        by_seen: dict[int, list[Point]] = {}
        for level in NOISE_LEVELS:
            for one in run.course(pattern.format(level)):
                by_seen.setdefault(one.images_seen, []).append(
                    Point(int(level) / 100, one.value, one.interval(), shown(one))
                )
        newest = sorted(by_seen)[-4:]  # more lines than these could not be told apart
        series = [
            Series(f"{seen:,} images", by_seen[seen], "dots", colour)
            for colour, seen in enumerate(newest)
        ]
        charts.append(Chart(title, unit, series, axis="spread of the added noise"))
    return [chart for chart in charts if chart.series]


def training_charts(run: RunFolder) -> list[Chart]:
    """Losses, latents and pace over the images seen; restarts are upright lines."""
    breaks = [float(event.get("images_seen") or 0) for event in run.happened("resumed")]
    charts = []
    for title, unit, metrics in TRAINING:
        series: list[Series] = []
        for metric in metrics:
            course = curve(run.events, metric)
            if not len(course):
                continue
            is_plain = metric in AS_REPORTED
            colour, label = metrics.index(metric), metric.partition("/")[2].replace("_", " ")
            raw = [Point(*pair) for pair in zip(course.images, course.values, strict=True)]
            if not is_plain:
                series.append(Series(label, raw, "faint", colour))
                smoothed = zip(course.images, smooth(course.values), strict=True)
                raw = [Point(*pair) for pair in smoothed]
            series.append(Series(label, raw, "line", colour))
        is_log = metrics[0] in ON_LOG_AXES
        charts.append(Chart(title, unit, series, is_log=is_log, breaks=breaks))
    return [chart for chart in charts if chart.series]


def missing(run: RunFolder) -> list[tuple[str, str]]:
    """What a report can show and this run has not measured, with the command that measures it."""
    probing = "python jobs/probe.py checkpoint="
    absent = [
        (panel.title, panel.command + run.url)
        for panel in (*DRAWN, *RECONSTRUCTED, *DENSITY, CLASSIFIERS, *LATENTS)
        if not any(run.course(metric) for _, metric in panel.lines)
    ]
    if best_probe(run) is None:
        absent.append(("linear probes", probing + run.url))
    return absent


def _spans_much(series: Sequence[Series]) -> bool:
    """Whether early values are so much larger that late ones could not be told apart."""
    values = [point.value for each in series for point in each.points]
    values = [value for value in values if math.isfinite(value)]
    return bool(values) and min(values) > 0 and max(values) > WIDE * min(values)


def _point(one: Number) -> Point:
    interval = None if one.corrected != one.value and one.is_of_corrected else one.interval()
    return Point(one.images_seen, one.value, interval, shown(one))
