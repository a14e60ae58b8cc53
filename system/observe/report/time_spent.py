"""Where a run's time went: its wall time from left to right, divided by cause, and in tables."""

from collections import Counter
from collections.abc import Sequence
from html import escape

from system.observe.goodput.table import OF_ATTEMPTS
from system.observe.goodput.table import label
from system.observe.goodput.table import meaning
from system.observe.goodput.table import share
from system.observe.report.folder import RunFolder
from system.telemetry.attribution import CAUSES
from system.telemetry.attribution import Cause
from system.telemetry.attribution import Stretch
from system.telemetry.console import clock
from system.telemetry.goodput import Account
from system.telemetry.goodput import account

WIDTH, HEIGHT = 940, 216
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 30
COLUMNS = 150
MARKS = 6  # times named below the picture
MOST_ATTEMPTS = 20


def time_spent(run: RunFolder) -> str:
    """The account of a run's time as HTML; "" where its ledger has none."""
    spent = account(run.events)
    if not spent.wall_us:
        return ""
    driven = (
        f" ({spent.goodput_while_driven:.1%} of the time that it had a driver)"
        if spent.parts_us()["idle"]
        else ""
    )
    return (
        f"<p>New images were trained on for {spent.goodput:.1%} of {clock(spent.wall_s)}{driven}. "
        "Every second of the run stands on one account: their sum is the wall time.</p>"
        f"{picture(spent)}{_causes(spent)}{_attempts(spent)}"
    )


def picture(spent: Account) -> str:
    """Columns over the wall time, each divided by what its time was spent on."""
    width = (WIDTH - LEFT - RIGHT) / COLUMNS
    drawn = "".join(
        _column(parts, LEFT + place * width, width)
        for place, parts in enumerate(columns(spent.stretches, COLUMNS))
    )
    legend = "".join(
        f'<li><span class="key s-{cause}"></span>{label(cause)}</li>'
        for cause in CAUSES
        if spent.parts_us()[cause]
    )
    return (
        '<figure class="chart"><figcaption>what the time was spent on'
        '<span class="unit">share of every moment, from the first process on</span></figcaption>'
        f'<ul class="legend">{legend}</ul><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="what the time was spent on">{_grid(spent)}{drawn}{_starts(spent)}</svg>'
        "<p>Upright dotted lines: an attempt began. Productive time is at the bottom: what stands "
        "above it was lost.</p></figure>"
    )


def columns(stretches: Sequence[Stretch], count: int) -> list[Counter[Cause]]:
    """The time of `count` equal parts of the wall time, in microseconds by cause. What happened
    within a stretch is taken as spread over it."""
    found: list[Counter[Cause]] = [Counter() for _ in range(count)]
    begin = stretches[0].start
    width = (stretches[-1].stop - begin) / count
    for stretch in stretches:
        first = min(count - 1, int((stretch.start - begin) / width))
        last = min(count - 1, int((stretch.stop - begin) / width))
        for place in range(first, last + 1):
            low = max(stretch.start - begin, place * width)
            high = min(stretch.stop - begin, (place + 1) * width)
            part = max(0.0, high - low) / (stretch.stop - stretch.start)
            for cause, spent in stretch.parts.items():
                found[place][cause] += round(spent * part)
    return found


def _column(parts: Counter[Cause], across: float, width: float) -> str:
    whole, below, drawn = max(1, sum(parts.values())), 0, []
    for cause in CAUSES:
        if not parts[cause]:
            continue
        low, high = (_height(each / whole) for each in (below, below + parts[cause]))
        below += parts[cause]
        drawn.append(
            f'<rect class="spent s-{cause}" x="{across:.1f}" y="{high:.1f}" '
            f'width="{width + 0.2:.1f}" height="{low - high:.1f}"><title>{label(cause)} '
            f"{parts[cause] / whole:.0%}</title></rect>"
        )
    return "".join(drawn)


def _height(part: float) -> float:
    return HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)


def _grid(spent: Account) -> str:
    levels = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_height(part):.1f}" '
        f'y2="{_height(part):.1f}"/><text class="tick" x="{LEFT - 7}" '
        f'y="{_height(part) + 3.5:.1f}" text-anchor="end">{part:.0%}</text>'
        for part in (0.0, 0.5, 1.0)
    )
    times = "".join(
        f'<text class="tick" x="{LEFT + (WIDTH - LEFT - RIGHT) * i / (MARKS - 1):.1f}" '
        f'y="{HEIGHT - BOTTOM + 17}" text-anchor="{_anchor(i)}">'
        f"{clock(spent.wall_s * i / (MARKS - 1))}</text>"
        for i in range(MARKS)
    )
    return levels + times


def _anchor(mark: int) -> str:
    return {0: "start", MARKS - 1: "end"}.get(mark, "middle")


def _starts(spent: Account) -> str:
    """A line where each attempt but the first began."""
    begin = spent.stretches[0].start
    first = {stretch.attempt: stretch.start for stretch in reversed(spent.stretches)}
    places = [
        (attempt, LEFT + (WIDTH - LEFT - RIGHT) * (start - begin) / spent.wall_us)
        for attempt, start in sorted(first.items())
        if attempt > min(spent.attempts, default=0)
    ]
    return "".join(
        f'<line class="break" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
        f"<title>attempt {attempt} began here</title></line>"
        for attempt, at in places
    )


def _causes(spent: Account) -> str:
    rows = "".join(
        f'<tr><td><span class="key s-{cause}"></span>{label(cause)}'
        f"<small>{escape(meaning(cause))}</small></td>"
        f'<td class="n">{_seconds(spent.seconds(cause))}</td>'
        f'<td class="n">{share(spent, cause):.2%}</td></tr>'
        for cause in CAUSES
    )
    return (
        '<div class="wide"><table><thead><tr><th>spent on</th><th class="n">seconds</th>'
        f'<th class="n">share</th></tr></thead><tbody>{rows}<tr><th>wall time</th>'
        f'<td class="n">{_seconds(spent.wall_s)}</td><td class="n">{1:.2%}</td></tr>'
        "</tbody></table></div>"
    )


def _attempts(spent: Account) -> str:
    """What attempts differ by; of very many the last ones."""
    shown = spent.attempts[-MOST_ATTEMPTS:]
    if len(spent.attempts) < 2:
        return ""
    left_out = len(spent.attempts) - len(shown)
    note = f"<p>{left_out:,} earlier attempts are left out here.</p>" if left_out else ""
    head = "".join(f'<th class="n">{label(cause)}</th>' for cause in OF_ATTEMPTS)
    rows = "".join(
        f"<tr><td>{attempt}</td>"
        + "".join(f'<td class="n">{_seconds(spent.seconds(c, attempt))}</td>' for c in OF_ATTEMPTS)
        + "</tr>"
        for attempt in shown
    )
    return (
        f'{note}<div class="wide"><table><thead><tr><th>attempt, in seconds</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}"
