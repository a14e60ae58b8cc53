"""A run in one JSON file: every number by name with its protocol, the pace, and what went wrong."""

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from system.foundation import storage
from system.telemetry import goodput
from system.telemetry.console import clock
from system.telemetry.ledger import Event
from system.telemetry.ledger import read_ledger
from system.telemetry.metrics import METRICS


def summarise(
    events: Sequence[Event], measurements: dict[str, dict[str, Any]], places: dict[str, str]
) -> dict[str, Any]:
    """What `summary.json` says.

    `measurements` are those of the newest evaluation by name, `places` what lies where. Times are
    wall times of the driver; a restart is an attempt after the first.
    """
    kinds = Counter(event["kind"] for event in events)
    reports = [event for event in events if event["kind"] == "report"]
    finished = [event for event in events if event["kind"] == "run_finished"]
    rates = [r["values"]["throughput/images_per_s"] for r in reports]
    return {
        "images_seen": max((event["images_seen"] for event in finished), default=0),
        "wall_s": sum(event["seconds"] for event in finished),
        "training_s": _training_seconds(events),
        "images_per_s": statistics.median(rates) if rates else None,
        "attempts": kinds["attempt_started"],
        "restarts": max(0, kinds["attempt_started"] - 1),
        "skipped_updates": kinds["skipped_update"],
        "bad_samples": kinds["bad_sample"],
        "failed_evaluations": kinds["evaluation_failed"],
        "goodput": _spent(events),
        "numbers": {name: _described(name, one) for name, one in sorted(measurements.items())},
        "course": _course(events),
        "places": places,
    }


def write_summary(run_url: str, places: dict[str, str]) -> dict[str, Any]:
    """Write `summary.json` into a run's folder, and return what it says."""
    content = summarise(read_ledger(run_url), newest_measurements(run_url), places)
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    storage.write_bytes(storage.join(run_url, "summary.json"), text.encode())
    return content


def newest_measurements(run_url: str) -> dict[str, dict[str, Any]]:
    """Each registered number of the newest checkpoint that was evaluated, with its protocol and the
    images seen; empty where none was. Several evaluations of it (of latents, of neighbours) stand
    side by side; numbers of single probes have no registered names and are left out.
    """
    folder = storage.join(run_url, "eval")
    names = [name for name in storage.list_names(folder) if name.endswith(".json")]
    contents = [json.loads(storage.read_text(storage.join(folder, name))) for name in names]
    newest = max((content["images_seen"] for content in contents), default=0)
    return {
        name: {**one, "images_seen": newest}
        for content in contents
        if content["images_seen"] == newest
        for name, one in content["measurements"].items()
        if name in METRICS
    }


def table(summary: dict[str, Any]) -> str:
    """A summary as text: each number with its uncertainty, the pace, and where things lie."""
    numbers, places = summary["numbers"], summary["places"]
    width = max(map(len, [*numbers, *places]), default=0)
    lines = [""]
    for name, one in numbers.items():
        error = one.get("standard_error")
        spread = f" ± {error:.2g}" if error is not None else ""
        lines.append(f"  {name:<{width}}  {one['value']:.4g}{spread} {one['unit']}".rstrip())
    measured_at = sorted({one["images_seen"] for one in numbers.values()})
    lines += [f"  measured at {seen:,} images" for seen in measured_at]
    pace = summary["images_per_s"]
    lines += [
        "",
        f"  {summary['images_seen']:,} images in {clock(summary['wall_s'])}"
        + (f", {pace:,.0f} images/s" if pace else "")
        + f", {summary['restarts']} restarts"
        + (f", goodput {summary['goodput']['share']:.0%}" if summary["goodput"] else ""),
        "",
        *(f"  {name:<{width}}  {place}" for name, place in places.items()),
    ]
    return "\n".join(lines)


def _described(name: str, measurement: dict[str, Any]) -> dict[str, Any]:
    metric = METRICS[name]
    return {**measurement, "unit": metric.unit, "meaning": metric.meaning}


def _spent(events: Sequence[Event]) -> dict[str, float]:
    """Where the time went: shares, and seconds that sum to the wall time; empty without any."""
    spent = goodput.account(events)
    told = goodput.values(spent) if spent.wall_us else {}
    return {name.partition("/")[2]: value for name, value in told.items()}


def _training_seconds(events: Sequence[Event]) -> float:
    """From the first report to the last of each attempt, summed."""
    spans: dict[int, list[float]] = {}
    for event in events:
        if event["kind"] == "report":
            spans.setdefault(event["attempt"], []).append(event["time"])
    return sum(max(times) - min(times) for times in spans.values())


def _course(events: Sequence[Event]) -> dict[str, list[tuple[int, float]]]:
    """How each evaluated number went over the images seen."""
    course: dict[str, dict[int, float]] = {}
    for event in events:
        if event["kind"] == "evaluation":
            for name, value in event["values"].items():
                if name in METRICS:
                    course.setdefault(name, {})[event["images_seen"]] = value
    return {name: sorted(values.items()) for name, values in sorted(course.items())}
