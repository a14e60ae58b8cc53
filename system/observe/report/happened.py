"""What happened to a run beside its numbers, and what it ran on: attempts, failures, versions."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from html import escape
from typing import Any

from system.observe.report.folder import RunFolder
from system.telemetry.console import clock
from system.telemetry.ledger import Event

# What went wrong or was left out, and under which word a reader looks for it.
TROUBLE = {
    "resumed": "taken up again",
    "worker_failed": "worker failed",
    "failure_decided": "decided on a failure",
    "skipped_update": "update skipped",
    "rolled_back": "taken back for a spike",
    "positions_left_out": "positions left out",
    "hang": "worker hung",
    "bad_sample": "sample left out",
    "checkpoint_passed_over": "checkpoint passed over",
    "evaluation_failed": "evaluation failed",
    "evaluation_dropped": "evaluation dropped",
    "manifest_changed": "shards changed",
}
ALWAYS_THERE = ("time", "kind", "run", "attempt", "images_seen", "trace")
MOST_ROWS = 60
MOST_LETTERS = 400


def counts(run: RunFolder) -> str:
    """How often each kind of trouble came, as one line."""
    kinds = Counter(event["kind"] for event in run.events)
    attempts = kinds["attempt_started"]
    words = [f"{attempts} attempt{'' if attempts == 1 else 's'}"]
    words += [f"{word}: {kinds[kind]}" for kind, word in TROUBLE.items() if kinds[kind]]
    if not any(kinds[kind] for kind in TROUBLE):
        words.append("no restart, skipped update, bad sample, failed or dropped evaluation")
    return escape("; ".join(words)) + "."


def trouble(run: RunFolder) -> str:
    """A row for each event of trouble, the newest last; of very many the last ones."""
    events = run.happened(*TROUBLE)
    if not events:
        return ""
    left_out = len(events) - MOST_ROWS
    first = f"<p>{left_out:,} earlier ones are left out here.</p>" if left_out > 0 else ""
    rows = "".join(_row(event) for event in events[-MOST_ROWS:])
    return (
        f'{first}<div class="wide"><table><thead><tr><th>time (UTC)</th><th>what</th>'
        '<th class="n">images seen</th><th class="n">attempt</th><th>more</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


@dataclass(frozen=True, slots=True)
class Told:
    """An event of trouble in words, not yet escaped for any page."""

    time: str  # UTC
    what: str
    images_seen: str
    attempt: str
    more: str


def told(event: Event) -> Told:
    """An event of one of the kinds of `TROUBLE` in words."""
    rest = {name: value for name, value in event.items() if name not in ALWAYS_THERE}
    more = "; ".join(f"{name} {_plain(value)}" for name, value in rest.items())
    seen = event.get("images_seen")
    return Told(
        time=moment(event["time"]),
        what=TROUBLE[event["kind"]],
        images_seen=f"{seen:,}" if isinstance(seen, int) else "",
        attempt=str(event.get("attempt", "")),
        more=more[:MOST_LETTERS],
    )


def _row(event: Event) -> str:
    words = told(event)
    return (
        f"<tr><td>{words.time}</td><td>{escape(words.what)}</td>"
        f'<td class="n">{words.images_seen}</td><td class="n">{escape(words.attempt)}</td>'
        f"<td>{escape(words.more)}</td></tr>"
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def moment(seconds: float) -> str:
    """A time of the ledger as a date and time of day, in UTC."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "no time"


def headline(run: RunFolder) -> str:
    """How far the run is, how long it took, and when it was heard of last."""
    seen = [
        event["images_seen"] for event in run.events if isinstance(event.get("images_seen"), int)
    ]
    finished = run.happened("run_finished")
    words = [f"{max(seen, default=0):,} images seen"]
    if finished:
        words.append(f"finished after {clock(sum(event['seconds'] for event in finished))}")
    elif run.events:
        words.append("not finished")
    if run.events:
        words.append(f"last heard of {moment(run.events[-1]['time'])} UTC")
    at = sorted({one.images_seen for one in run.numbers})
    words.append(f"{len(at)} checkpoint{'' if len(at) == 1 else 's'} evaluated")
    return escape(", ".join(words)) + "."


def provenance(run: RunFolder) -> str:
    """Each start with its command, commit and versions; then the whole recipe."""
    parts = []
    for number, start in enumerate(run.starts, 1):
        arguments = start.get("arguments")
        command = " ".join(map(str, arguments)) if isinstance(arguments, list) else ""
        facts = {
            "command": command,
            "commit": start.get("commit"),
            "recipe": start.get("recipe_digest"),
            **_mapping(start.get("versions")),
        }
        rows = "".join(
            f"<tr><th>{escape(str(name))}</th><td><code>{escape(str(value))}</code></td></tr>"
            for name, value in facts.items()
            if value
        )
        title = f"start {number}, {start.get('time', 'at an unknown time')}"
        parts.append(
            f'<h3>{escape(title)}</h3><div class="wide"><table class="facts">'
            f"<tbody>{rows}</tbody></table></div>"
        )
    if run.recipe is not None:
        parts.append(
            "<details><summary>the whole recipe</summary>"
            f'<p><button type="button" data-copies="pre">copy</button></p>'
            f"<pre>{escape(run.recipe)}</pre></details>"
        )
    return "".join(parts)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
