"""Runs and campaigns as rows of the page's tables."""

from typing import Any

from system.observe.leaderboard import Leaderboard
from system.observe.report.folder import Z95
from system.observe.run_view import RunView
from system.telemetry.attribution import CAUSES

FIRST_METRIC = "evaluation/gfid"
RATE = "throughput/images_per_s"
MOST_SPARKS = 24  # values of the small course of gFID


def run_row(run: RunView) -> dict[str, Any]:
    """What the table of all runs shows of one."""
    newest = run.newest(FIRST_METRIC)
    value, error = newest or (None, None)
    course = [one.values[FIRST_METRIC] for one in run.evaluations if FIRST_METRIC in one.values]
    return {
        "name": run.name,
        "url": run.url,
        "state": run.state,
        "attempt": run.attempt,
        "restarts": run.restarts,
        "workers": run.workers,
        "images": run.images_seen,
        "total": run.total_images,
        "rate": run.values.get(RATE) if run.state == "running" else None,
        "last_rate": run.values.get(RATE),
        "gfid": value,
        "gfid_spread": None if error is None else Z95 * error,
        "gfid_best": run.best(FIRST_METRIC),
        "gfid_course": _every(course, MOST_SPARKS),
        "evaluations": len({one.images_seen for one in run.evaluations}),
        "goodput": run.goodput.get("goodput/share"),
        "causes": {
            cause: seconds
            for cause in CAUSES
            if (seconds := round(run.goodput.get(f"goodput/{cause}_s", 0.0), 1))
        },
        "started": run.started,
        "heard": run.last_event,
        "checkpoint": run.checkpoint.images_seen if run.checkpoint else None,
        "checkpoint_time": run.checkpoint.time if run.checkpoint else None,
        "digest": run.recipe_digest,
        "problem": run.problem,
    }


def board_content(board: Leaderboard) -> dict[str, Any]:
    """A campaign as its page shows it."""
    return board.model_dump(mode="json")


def _every(values: list[float], most: int) -> list[float]:
    """At most so many of the values, the first and the last among them, with four digits."""
    if len(values) > most:
        step = (len(values) - 1) / (most - 1)
        values = [values[round(place * step)] for place in range(most)]
    return [float(f"{value:.4g}") for value in values]
