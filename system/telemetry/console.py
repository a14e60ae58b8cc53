"""What a person sees while a run goes on: ledger events as lines of text.

    images 40,960 / 400,000  10 %  1,812 images/s  nll 0.312  rec 0.021  ETA 3:10  gFID 12.3

The functions that make text are pure. `Console` keeps the little state between events and writes:
where the output is a terminal the line of progress renews itself, else it comes now and then.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from datetime import timedelta
from typing import Any
from typing import TextIO

from rich.console import Console as RichConsole
from rich.live import Live
from rich.text import Text

from system.telemetry.ledger import Event

# Columns after the count: label, metric, format.
SHOWN = (
    ("nll", "loss/nll_nats", "{:.3f}"),
    ("rec", "loss/reconstruction", "{:.4f}"),
    ("grad", "train/gradient_norm", "{:.2f}"),
)
SMOOTHING = 0.3
PLAIN_LINE_EVERY_S = 10.0


def clock(seconds: float) -> str:
    """A duration as `m:ss` or `h:mm:ss`."""
    minutes, left = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def percent(done: int, total: int) -> str:
    """How much is done, never 100 % before the end."""
    return f"{min(100, 100 * done // max(total, 1))} %"


@dataclass
class Progress:
    """Where a run stands, as far as its ledger has told."""

    total_images: int
    images_seen: int = 0
    images_per_s: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    gfid: float | None = None
    goodput: float | None = None

    def update(self, event: Event) -> None:
        """Take in one ledger event."""
        if event["kind"] == "report":
            self.images_seen = event["images_seen"]
            self.values = event["values"]
            rate = self.values.get("throughput/images_per_s")
            if rate is not None:
                before = self.images_per_s
                self.images_per_s = rate if before is None else before + SMOOTHING * (rate - before)
        elif event["kind"] == "evaluation":
            self.gfid = event["values"].get("evaluation/gfid", self.gfid)
        elif event["kind"] == "goodput":
            self.goodput = event["values"].get("goodput/share_while_driven")
        elif event["kind"] == "attempt_started":
            self.images_seen = 0  # until it has taken up a checkpoint
            self.images_per_s = None
        elif event["kind"] == "resumed":
            self.images_seen = event["images_seen"]

    def line(self) -> str:
        """The line of progress."""
        parts = [
            f"images {self.images_seen:,} / {self.total_images:,}",
            percent(self.images_seen, self.total_images),
        ]
        if self.images_per_s:
            parts.append(f"{self.images_per_s:,.0f} images/s")
        parts += [
            f"{label} {form.format(self.values[name])}"
            for label, name, form in SHOWN
            if name in self.values
        ]
        if self.images_per_s and self.images_seen < self.total_images:
            parts.append(f"ETA {clock((self.total_images - self.images_seen) / self.images_per_s)}")
        if self.goodput is not None:
            parts.append(f"goodput {percent(round(1000 * self.goodput), 1000)}")
        if self.gfid is not None:
            parts.append(f"gFID {self.gfid:.3g}")
        return "  ".join(parts)


def event_line(event: Event) -> str | None:
    """One line for an event that is worth one, else None. Reports belong to the progress line."""
    kind, seen = event["kind"], event.get("images_seen")
    at = f"at {seen:,} images" if isinstance(seen, int) else ""
    match kind:
        case "attempt_started":
            return _attempt_line(event)
        case "resumed":
            return f"resumes {at} from {event.get('checkpoint', '')}"
        case "manifest_changed":
            changes = "; ".join(event.get("changes", []))
            return f"goes on {at} with other shards, which no audit can prove whole: {changes}"
        case "checkpoint":
            return f"checkpoint {at}"
        case "checkpoint_passed_over":
            return (
                f"checkpoint {event.get('checkpoint', '')} passed over: {event.get('reason', '')}"
            )
        case "evaluation":
            return f"evaluation {at}: {_evaluation_numbers(event.get('values', {}))}"
        case "evaluation_dropped":
            return f"evaluation {at} left out: {event.get('reason', '')}"
        case "evaluation_failed":
            return f"evaluation {at} failed: {event.get('error', '')}"
        case "skipped_update":
            return f"update skipped {at}: {event.get('reason', 'values that are not finite')}"
        case "rolled_back":
            before = f"taken back to before position {event.get('start', 0):,}"
            return f"{before}: {event.get('reason', '')}"
        case "positions_left_out":
            span = f"{event.get('start', 0):,} to {event.get('stop', 0):,}"
            return f"positions {span} left out: {event.get('reason', '')}"
        case "hang":
            where = f"worker {event.get('rank', '?')} hangs ({event.get('stage', '')})"
            return f"{where}: {event.get('reason', '')}; see {event.get('stacks', '')}"
        case "bad_sample":
            return f"bad sample {event.get('key', '')}: {event.get('reason', '')}"
        case "notice":
            return _notice_line(event, at)
        case "standing_by":
            return f"all is saved {at}: waits for the {event.get('cause', 'end')}"
        case "worker_failed":
            return f"worker {event.get('rank', '?')} failed: {event.get('error', '')}"
        case "failure_decided":
            return _decision_line(event)
        case "run_finished":
            return f"finished {at} after {clock(event.get('seconds', 0.0))}"
    return None


def _attempt_line(event: Event) -> str:
    workers = event.get("workers", 1)
    crew = f"{workers} worker{'s' if workers != 1 else ''} on {event.get('device', 'cpu')}"
    patience = "; the first update compiles the model" if event.get("compiles") else ""
    return f"attempt {event['attempt']} starts with {crew}{patience}"


def _decision_line(event: Event) -> str:
    wait_s, node = event.get("wait_s"), event.get("without_node")
    done = {"restart": "starts the workers again", "skip": "goes on without the batch"}
    parts = [
        done.get(event.get("action", ""), "ends the run"),
        *([f"in {wait_s:g} s"] if wait_s else []),
        *([f"without node {node}"] if node else []),
    ]
    return f"{' '.join(parts)}: {event.get('reason', '')}"


def _notice_line(event: Event, at: str) -> str:
    left = event.get("seconds_left")
    when = "" if left is None else f" in {clock(left)}"
    return f"{event.get('cause', 'preemption')} announced {at}{when}: saves before it"


def _evaluation_numbers(values: Mapping[str, Any]) -> str:
    names = (
        ("gFID", "evaluation/gfid", "{:.3g}"),
        ("floor", "evaluation/gfid_floor", "{:.3g}"),
        ("rFID", "evaluation/rfid", "{:.3g}"),
        ("accuracy", "evaluation/conditional_accuracy", "{:.1%}"),
        ("Bayes", "evaluation/bayes_accuracy", "{:.1%}"),
        ("bits/dim", "evaluation/bits_per_dim", "{:.3f}"),
    )
    return "  ".join(f"{n} {f.format(values[k])}" for n, k, f in names if k in values)


class Console:
    """Writes a run's events to a stream as they come."""

    def __init__(self, total_images: int, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.progress = Progress(total_images)
        self._started = time.monotonic()
        self._last_plain = -PLAIN_LINE_EVERY_S
        self._live: Live | None = None
        if self.stream.isatty():
            self._live = Live(console=RichConsole(file=self.stream), refresh_per_second=4)
            self._live.start()

    def show(self, event: Event) -> None:
        """Show one ledger event."""
        self.progress.update(event)
        line = event_line(event)
        if line is not None:
            self._print(line)
        if event["kind"] == "report":
            self._show_progress()

    def _show_progress(self) -> None:
        line, now = self.progress.line(), time.monotonic()
        last = self.progress.images_seen >= self.progress.total_images
        if self._live is not None:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"))
        elif last or now - self._last_plain >= PLAIN_LINE_EVERY_S:
            self._last_plain = now
            self._print(line)

    def _print(self, line: str) -> None:
        stamp = str(timedelta(seconds=round(time.monotonic() - self._started)))
        text = f"{stamp}  {line}"
        if self._live is not None:
            self._live.console.print(Text(text))
        else:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._live is not None:
            self._live.stop()
            self._live = None
