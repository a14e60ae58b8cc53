"""The page of one run or of several side by side: one HTML file that loads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from system.observe.report.chart import Chart
from system.observe.report.chart import draw_chart
from system.observe.report.classifiers import explanation
from system.observe.report.figures import classifier_chart
from system.observe.report.figures import missing
from system.observe.report.figures import noise_charts
from system.observe.report.figures import panel_charts
from system.observe.report.figures import training_charts
from system.observe.report.folder import Number
from system.observe.report.folder import RunFolder
from system.observe.report.happened import counts
from system.observe.report.happened import headline
from system.observe.report.happened import provenance
from system.observe.report.happened import trouble
from system.observe.report.numbers import newest_numbers
from system.observe.report.numbers import protocol_cards
from system.observe.report.numbers import shown
from system.observe.report.numbers import table
from system.observe.report.numbers import tiles
from system.observe.report.panels import DENSITY
from system.observe.report.panels import DRAWN
from system.observe.report.panels import LATENTS
from system.observe.report.panels import RECONSTRUCTED
from system.observe.report.pictures import shown_picture
from system.observe.report.pictures import strips
from system.observe.report.style import SCRIPT
from system.observe.report.style import STYLE
from system.observe.report.time_spent import time_spent

GRID_NOTE = "A row per class, always the same noise and the same labels."
OTHER_PICTURES = {
    "interpolation": "interpolation between held-out images",
    "nearest": "drawn images nearest to a training image",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a run's report, under its heading."""

    name: str
    title: str
    body: str


def page(runs: Sequence[RunFolder]) -> str:
    """The whole page as HTML."""
    several = len(runs) > 1
    title = ", ".join(run.name for run in runs)
    body = _side_by_side(runs) if several else ""
    body += "".join(_run(run, f"r{place}") for place, run in enumerate(runs))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{body}"
        f"</main><script>{SCRIPT}</script></body></html>\n"
    )


def _side_by_side(runs: Sequence[RunFolder]) -> str:
    """Every number that more than one run has, where each measured it last."""
    names = [{one.name for one in run.numbers} for run in runs]
    shared = sorted({name for each in names for name in each if sum(name in n for n in names) > 1})
    head = "".join(f'<th class="n">{escape(run.name)}</th>' for run in runs)
    rows = []
    for name in shared:
        found = [run.newest(name) for run in runs]
        protocols = {one.digest for one in found if one is not None}
        cells = "".join(
            f'<td class="n">{escape(shown(one)) if one is not None else ""}</td>' for one in found
        )
        verdict = "" if len(protocols) == 1 else "protocols differ"
        label = escape(name.removeprefix("evaluation/"))
        rows.append(
            f'<tr><td><code>{label}</code></td>{cells}<td class="fault">{verdict}</td></tr>'
        )
    return (
        '<h1>Runs side by side</h1><p class="lead">The newest value of each, with its 95 % '
        "interval. Values of different protocols are not comparable.</p>"
        f'<div class="wide"><table><thead><tr><th>number</th>{head}<th></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _run(run: RunFolder, anchor: str) -> str:
    sections = [each for each in _sections(run, anchor) if each.body]
    links = "".join(
        f'<a href="#{anchor}-{each.name}">{escape(each.title)}</a>' for each in sections
    )
    body = "".join(
        f'<section><h2 id="{anchor}-{each.name}">{escape(each.title)}</h2>{each.body}</section>'
        for each in sections
    )
    return (
        f'<header><h1>{escape(run.name)}</h1><p class="lead">{headline(run)}</p>'
        f"<nav>{links}</nav>{tiles(run)}</header>{body}"
    )


def _sections(run: RunFolder, anchor: str) -> list[Section]:
    words = "".join(f"<p>{escape(each)}</p>" for each in explanation(run))
    return [
        Section("drawn", "Drawn images", _charts(panel_charts(run, DRAWN))),
        Section("pictures", "Pictures over time", _pictures(run)),
        Section("reconstruction", "Reconstruction", _charts(panel_charts(run, RECONSTRUCTED))),
        Section(
            "density",
            "Density and classes",
            _charts([classifier_chart(run), *panel_charts(run, DENSITY)]) + words,
        ),
        Section("latents", "Latents", _charts([*panel_charts(run, LATENTS), *noise_charts(run)])),
        Section("training", "Training", _training(run)),
        Section("time", "Where the time went", time_spent(run)),
        Section("numbers", "Every number", _numbers(run, anchor)),
        Section("protocols", "Protocols", protocol_cards(_by_name(run), anchor)),
        Section("happened", "What happened", f"<p>{counts(run)}</p>{trouble(run)}"),
        Section("missing", "What is missing", _missing(run)),
        Section("provenance", "Provenance", provenance(run)),
    ]


def _charts(charts: Sequence[Chart]) -> str:
    drawn = "".join(draw_chart(chart) for chart in charts)
    return f'<div class="charts">{drawn}</div>' if drawn else ""


def _pictures(run: RunFolder) -> str:
    if not run.grids and not run.pictures:
        return ""
    parts = [
        "<p>One picture of each class (the first cell of every row of its grid), at the images "
        f"seen that stand beside it: the same noise and labels each time.</p>{strips(run.grids)}"
        if run.grids
        else ""
    ]
    figures = []
    if run.grids:
        newest = max(run.grids)
        figures.append(shown_picture(run.grids[newest], f"at {newest:,} images seen", GRID_NOTE))
    for kind, title in OTHER_PICTURES.items():
        names = sorted(name for name in run.pictures if name.endswith(f"-{kind}.png"))
        if names:
            figures.append(shown_picture(run.pictures[names[-1]], title, names[-1]))
    return f'{parts[0]}<div class="pictures">{"".join(figures)}</div>'


def _training(run: RunFolder) -> str:
    charts = _charts(training_charts(run))
    note = (
        "<p>Running means over the reports, which stand behind them faintly; upright dotted lines "
    )
    return f"{note}where a later attempt began.</p>{charts}" if charts else ""


def _by_name(run: RunFolder) -> list[Number]:
    return sorted(run.numbers, key=lambda one: (one.name, -one.images_seen))


def _numbers(run: RunFolder, anchor: str) -> str:
    if not run.numbers:
        return "<p>Nothing was evaluated yet.</p>"
    return (
        "<p>Each where it was measured last. Two values may be compared when their protocols "
        "have the same digest. The interval of a distance that has a corrected value is of that; "
        "intervals of plain shares are Wilson's.</p>"
        f"{table(newest_numbers(run), anchor)}"
        f"<details><summary>at every checkpoint</summary>{table(_by_name(run), anchor)}</details>"
    )


def _missing(run: RunFolder) -> str:
    faults = "".join(f'<li class="fault">{escape(fault)}</li>' for fault in run.faults)
    rows = "".join(
        f"<tr><td>{escape(what)}</td><td><code>{escape(command)}</code></td></tr>"
        for what, command in missing(run)
    )
    table_of = (
        '<p>Not measured in this run, and what measures it:</p><div class="wide"><table><tbody>'
        f"{rows}</tbody></table></div>"
        if rows
        else ""
    )
    return (f"<ul>{faults}</ul>" if faults else "") + table_of
