"""Numbers in words and tables, and the card of the protocol behind each of them."""

import json
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from system.observe.report.chart import short_value
from system.observe.report.folder import Number
from system.observe.report.folder import RunFolder

TILES = (
    ("gFID", "evaluation/gfid"),
    ("rFID", "evaluation/rfid"),
    ("PSNR", "evaluation/psnr_db"),
    ("precision", "evaluation/precision"),
    ("recall", "evaluation/recall"),
    ("drawn as asked", "evaluation/conditional_accuracy"),
    ("Bayes classifier", "evaluation/bayes_accuracy"),
    ("bits per dimension", "evaluation/bits_per_dim"),
)


def shown(one: Number) -> str:
    """A value with its 95 % interval and unit: `1.96 (1.71 to 2.22)`, `79.0 % (74.3 to 83.1)`."""
    interval, value = one.interval(), plain(one, one.value)
    unit = " %" if one.is_share else f" {one.metric.unit}" if one.metric.unit else ""
    if interval is None:
        return value + unit
    low, high = (plain(one, end) for end in interval)
    if one.is_of_corrected and one.corrected is not None and one.corrected != one.value:
        return f"{value}{unit}, corrected {plain(one, one.corrected)} ({low} to {high})"
    return f"{value}{unit} ({low} to {high})"


def plain(one: Number, value: float) -> str:
    """A number of this kind without its unit: shares in percent, others with three digits."""
    return f"{100 * value:.1f}" if one.is_share else short_value(value)


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the numbers that a reader asks for first, in words not yet escaped."""

    label: str
    value: str
    unit: str
    below: str  # its interval, or that there is none


def tile(label: str, one: Number) -> Tile:
    """A number as a tile."""
    interval = one.interval()
    low_high = [plain(one, end) for end in interval] if interval else []
    below = " to ".join(low_high) or "no error bar"
    if one.is_of_corrected and one.corrected is not None and one.corrected != one.value:
        below = f"corrected {plain(one, one.corrected)}: {below}"
    return Tile(label, plain(one, one.value), "%" if one.is_share else one.metric.unit, below)


def newest_tiles(run: RunFolder) -> list[Tile]:
    """The newest of the numbers that a reader asks for first, of those that were measured."""
    found = [(label, run.newest(name)) for label, name in TILES]
    return [tile(label, one) for label, one in found if one is not None]


def tiles(run: RunFolder) -> str:
    """The newest of the numbers that a reader asks for first."""
    cells = [
        f'<div class="tile"><span>{escape(each.label)}</span><b>{escape(each.value)}'
        f"<small>{escape(each.unit)}</small></b><em>{escape(each.below)}</em></div>"
        for each in newest_tiles(run)
    ]
    return f'<div class="tiles">{"".join(cells)}</div>' if cells else ""


def newest_numbers(run: RunFolder) -> list[Number]:
    """Each number where each of its protocols measured it last, by name."""
    found = {(one.name, one.digest): one for one in sorted(run.numbers, key=_seen)}
    return [found[key] for key in sorted(found)]


def _seen(one: Number) -> int:
    return one.images_seen


def table(numbers: Iterable[Number], anchor: str) -> str:
    """Numbers in rows, each with a link to its protocol; `anchor` tells runs of a page apart."""
    rows = []
    for one in numbers:
        corrected = "" if one.corrected is None else short_value(one.corrected)
        interval = one.interval()
        ends = "" if interval is None else " to ".join(plain(one, end) for end in interval)
        rows.append(
            f"<tr><td><code>{escape(one.name.removeprefix('evaluation/'))}</code>"
            f"<small>{escape(one.metric.meaning)}</small></td>"
            f'<td class="n" data-name="{escape(one.name)}" data-images="{one.images_seen}" '
            f'data-value="{one.value!r}">{escape(plain(one, one.value))}</td>'
            f'<td class="n">{escape(ends)}</td><td class="n">{escape(corrected)}</td>'
            f"<td>{escape('%' if one.is_share else one.metric.unit)}</td>"
            f'<td class="n">{one.images_seen:,}</td>'
            f'<td><a href="#{card_id(one, anchor)}"><code>{escape(one.digest[:8] or "none")}'
            "</code></a></td></tr>"
        )
    return (
        '<div class="wide"><table><thead><tr><th>number</th><th class="n">value</th>'
        '<th class="n">95 % interval</th><th class="n">corrected</th><th>unit</th>'
        '<th class="n">images seen</th><th>protocol</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def card_id(one: Number, anchor: str) -> str:
    """The fragment under which the card of a number's protocol lies."""
    kept = "".join(letter for letter in one.digest if letter.isalnum())
    return f"protocol-{anchor}-{kept or 'none'}"


def protocol_cards(numbers: Sequence[Number], anchor: str) -> str:
    """A card for each protocol that made any of the numbers, in the order of their names."""
    by_digest: dict[str, list[Number]] = {}
    for one in numbers:
        by_digest.setdefault(one.digest, []).append(one)
    return "".join(_card(made, anchor) for made in by_digest.values())


def _card(made: Sequence[Number], anchor: str) -> str:
    one = made[0]
    names = sorted({each.name.removeprefix("evaluation/") for each in made})
    verdict = {
        True: "the digest is that of this record",
        False: "THE DIGEST IS NOT THAT OF THIS RECORD: the file was changed after it was written",
        None: "a record of another version of this code: its digest was not computed again",
    }[one.is_as_digested]
    text = json.dumps(one.protocol, indent=2, ensure_ascii=False)
    return (
        f'<details class="card" id="{card_id(one, anchor)}"><summary><code>'
        f"{escape(one.digest[:8] or 'none')}</code> {escape(', '.join(names))}</summary>"
        f"<p>protocol <code>{escape(one.digest or 'without a digest')}</code>; {escape(verdict)}. "
        f'<button type="button" data-copies="pre">copy</button></p>'
        f"<pre>{escape(text)}</pre></details>"
    )
