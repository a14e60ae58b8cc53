"""Which charts a report has, and what goes into each: a table, read by one function.

What was never measured is no chart; `missing` says what it is and which command measures it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from system.observe.curves import curve
from system.observe.curves import smooth
from system.observe.report.chart import Chart
from system.observe.report.chart import Point
from system.observe.report.chart import Series
from system.observe.report.folder import Number
from system.observe.report.folder import RunFolder
from system.observe.report.numbers import shown

PROBE = "evaluation/probe_"
WIDE = 8.0  # largest over smallest value, from which an axis is logarithmic
NOISE_LEVELS = ("000", "025", "050", "075", "100")


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart of evaluated numbers: each line's label and metric, and the level beside them."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    note: str = ""
    floor: str | None = None
    is_share: bool = False
    command: str = "python jobs/evaluate.py checkpoint="


DRAWN = (
    Panel(
        "gFID",
        "Fréchet distance, lower is better",
        (("gFID", "evaluation/gfid"), ("without guidance", "evaluation/gfid_unguided")),
        note="Full dots: with this number of samples. Hollow: corrected for the bias of few "
        "samples. Bars: 95 % intervals, of the corrected value where the record states one. "
        "The dashed floor is what real images get with as many samples: compare it with the full "
        "dots.",
        floor="evaluation/gfid_floor",
    ),
    Panel(
        "sFID",
        "Fréchet distance of spatial features",
        (("sFID", "evaluation/sfid"), ("without guidance", "evaluation/sfid_unguided")),
        floor="evaluation/sfid_floor",
    ),
    Panel(
        "precision and recall",
        "",
        (
            ("precision", "evaluation/precision"),
            ("recall", "evaluation/recall"),
            ("coverage", "evaluation/coverage"),
        ),
        note="Precision: drawn images near a real one. Recall: real images near a drawn one.",
        is_share=True,
    ),
    Panel("inception score", "", (("inception score", "evaluation/inception_score"),)),
    Panel("KID", "kernel distance", (("KID", "evaluation/kid"),)),
    Panel("FD-DINOv2", "Fréchet distance", (("FD-DINOv2", "evaluation/fd_dinov2"),)),
    Panel(
        "drawn as asked",
        "judged by the independent classifier",
        (
            ("with guidance", "evaluation/conditional_accuracy"),
            ("without guidance", "evaluation/conditional_accuracy_unguided"),
        ),
        floor="evaluation/classifier_accuracy",
        note="The dashed level is the judge's own accuracy on real images that it never saw.",
        is_share=True,
    ),
    Panel(
        "copies of training images",
        "share of drawn images",
        (
            ("nearer than 99 % of held-out ones", "evaluation/nearest_share"),
            ("near to one alone", "evaluation/nearest_memorised"),
        ),
        note="Nothing copied: 1 % of the first, and as many of the second as of held-out images.",
        is_share=True,
        command="python jobs/nearest_neighbours.py checkpoint=",
    ),
)

RECONSTRUCTED = (
    Panel(
        "rFID",
        "Fréchet distance",
        (("through the mean", "evaluation/rfid"), ("through a draw", "evaluation/rfid_sampled")),
        note="What the encoder keeps, and what generation can reach: its latents have the "
        "posterior's noise in them.",
    ),
    Panel(
        "PSNR",
        "dB, higher is better",
        (
            ("through the mean", "evaluation/psnr_db"),
            ("through a draw", "evaluation/psnr_sampled_db"),
        ),
    ),
    Panel("SSIM", "", (("SSIM", "evaluation/ssim"), ("a draw", "evaluation/ssim_sampled"))),
    Panel("LPIPS", "", (("LPIPS", "evaluation/lpips"), ("a draw", "evaluation/lpips_sampled"))),
)

DENSITY = (
    Panel(
        "code length of held-out images",
        "bits per dimension",
        (
            ("noisy latent", "evaluation/bits_per_dim"),
            ("rate: less the noise", "evaluation/rate_bits_per_dim"),
            ("8-bit pixels", "evaluation/pixel_bits_per_dim"),
        ),
        note="Of latents, not of pixels: a length of the noisy latent, and the rate of the "
        "evidence bound, what the latent tells of its image beside the class.",
    ),
)

CLASSIFIERS = Panel(
    "classes of held-out images",
    "accuracy",
    (
        ("one gradient", "evaluation/gradient_accuracy"),
        ("Bayes, every class asked", "evaluation/bayes_accuracy"),
        ("judge", "evaluation/classifier_accuracy"),
    ),
    note="Bars are 95 % intervals for so many independent images (Wilson).",
    is_share=True,
)

ANALYSIS = "python jobs/analyse_latents.py checkpoint="
LATENTS = tuple(
    Panel(title, unit, ((title, f"evaluation/{name}"),), command=ANALYSIS)
    for title, unit, name in (
        ("spectral entropy", "1 is white noise", "spectral_entropy"),
        ("high-frequency ratio", "share of power", "high_frequency_ratio"),
        ("total variation", "mean absolute step", "total_variation"),
        ("autocorrelation", "of neighbours", "autocorrelation"),
        ("spread of the means", "", "latent_std"),
    )
)

TRAINING = (
    ("objective", "", ("loss/total",)),
    ("pixel distance", "", ("loss/reconstruction", "loss/perceptual")),
    ("density of the training latents", "nats per dimension", ("loss/nll_nats",)),
    ("adversarial", "", ("loss/adversarial", "loss/critic")),
    ("alignment", "cosine", ("alignment/cosine",)),
    ("latents", "", ("latent/mean_std", "latent/posterior_std")),
    ("gradient norm", "", ("train/gradient_norm",)),
    ("learning rate", "", ("train/learning_rate",)),
    ("throughput", "images per second", ("throughput/images_per_s",)),
    ("time of an update", "s", ("throughput/update_s", "throughput/data_wait_s")),
)
ON_LOG_AXES = ("loss/reconstruction", "train/gradient_norm")
AS_REPORTED = ("latent/mean_std", "latent/posterior_std", "train/learning_rate")  # without noise


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
