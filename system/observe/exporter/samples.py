"""Runs and campaigns as samples of registered metrics: pure functions of what was read."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import get_args

from system.observe.leaderboard import Leaderboard
from system.observe.run_view import Evaluated
from system.observe.run_view import RunView
from system.observe.run_view import State
from system.telemetry.metric import UNCERTAINTY
from system.telemetry.metrics import METRICS

# Counted from zero, so that the first of them is an increase that an alert can see.
COUNTED_EVENTS = (
    "bad_sample",
    "checkpoint",
    "checkpoint_passed_over",
    "evaluation",
    "evaluation_dropped",
    "evaluation_failed",
    "hang",
    "notice",
    "rolled_back",
    "skipped_update",
    "worker_failed",
)
# Likewise; the names are those of `launch/causes`, which would bring all of Ray along.
KNOWN_CAUSES = (
    "config",
    "data",
    "numerics",
    "disk_full",
    "preempted",
    "planned",
    "out_of_memory",
    "stalled",
    "lost",
    "storage",
    "unknown",
)
# How the states begin after which nothing more is to be expected of a campaign.
CAMPAIGN_OVER = ("complete", "closed", "stopped")
GFID = "evaluation/gfid"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a registered metric, or of a metric's uncertainty."""

    name: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


def of_run(view: RunView, now: float, price_per_worker_hour: float | None) -> Iterator[Sample]:
    """Everything that is known of a run."""
    yield from _own(view, now, price_per_worker_hour)
    yield from _counts(view)
    told = {**view.values, **_evaluated(view.evaluations), **view.goodput}
    if view.last_report is not None:
        told["report/images_seen"] = view.images_seen
    for name, value in told.items():
        if name.removesuffix(UNCERTAINTY) in METRICS:
            yield Sample(name, value, {"run": view.name})


def of_campaign(board: Leaderboard, now: float) -> Iterator[Sample]:
    """A campaign's leaderboard, and what it has spent of what it may."""
    of = {"campaign": board.campaign}
    yield Sample("campaign/state", 1.0, of | {"state": board.state})
    yield Sample(
        "campaign/info", 1.0, of | {"objective": board.objective, "direction": board.direction}
    )
    silent = 0.0 if board.state.startswith(CAMPAIGN_OVER) else max(0.0, now - board.updated)
    yield Sample("campaign/silent_s", silent, of)
    spending = {
        "campaign/gpu_hours_spent": board.gpu_hours_spent,
        "campaign/gpu_hours_limit": board.gpu_hours_limit,
        "campaign/cost_spent": board.cost_spent,
        "campaign/cost_limit": board.cost_limit,
    }
    yield from _known(spending, of)
    for state in sorted({row.state for row in board.trials}):
        count = sum(row.state == state for row in board.trials)
        yield Sample("campaign/trials", count, of | {"state": state})
    for rung, images in enumerate(board.rungs):
        there = sum(row.rung >= rung for row in board.trials)
        yield Sample("campaign/rung_images", images, of | {"rung": str(rung)})
        yield Sample("campaign/rung_trials", there, of | {"rung": str(rung)})
    for place, row in enumerate(board.trials, 1):
        measured = {
            "campaign/place": place,
            "campaign/images_seen": row.images_seen,
            "campaign/value": row.value,
            "campaign/error": row.error,
            "campaign/confirmed_value": row.confirmed_value,
            "campaign/confirmed_error": row.confirmed_error,
        }
        yield from _known(measured, of | {"trial": row.trial, "run": row.run})


def evaluations_since_best(evaluations: Sequence[Evaluated], name: str = GFID) -> int:
    """How many of the newest evaluations in a row are worse than the best by two standard errors.

    The errors are those of the best and of the one in question, taken together.
    """
    measured = [one for one in evaluations if name in one.values]
    if not measured:
        return 0
    best = min(measured, key=lambda one: one.values[name])
    count = 0
    for one in reversed(measured):
        spread = ((one.error(name) or 0.0) ** 2 + (best.error(name) or 0.0) ** 2) ** 0.5
        if one.values[name] <= best.values[name] + 2 * spread:
            break
        count += 1
    return count


def _own(view: RunView, now: float, price: float | None) -> Iterator[Sample]:
    """What is known of the run itself."""
    of = {"run": view.name}
    for state in get_args(State):
        yield Sample("run/state", float(view.state == state), of | {"state": state})
    yield Sample("run/info", 1.0, of | {"recipe": view.recipe_digest or ""})
    hours = view.worker_seconds / 3600
    saved, waiting = view.checkpoint, view.evaluations_waiting
    evaluated = max((one.images_seen for one in view.evaluations), default=0)
    since_report = view.last_report or view.last_event or now
    since_save = max(saved.time if saved else 0.0, view.started or now)
    values: dict[str, float | None] = {
        "run/images_seen": view.images_seen,
        "run/total_images": view.total_images,
        "run/attempt": view.attempt,
        "run/workers": view.workers,
        "run/started_time_s": view.started,
        "run/last_event_time_s": view.last_event,
        "run/stalled_s": 0.0 if view.is_over else max(0.0, now - since_report),
        "run/checkpoint_time_s": saved.time if saved else None,
        "run/checkpoint_images": saved.images_seen if saved else None,
        "run/checkpoint_age_s": 0.0 if view.is_over else max(0.0, now - since_save),
        "run/checkpoint_interval_s": view.checkpoint_interval_s,
        "run/evaluations_waiting": len(waiting),
        "run/evaluation_waiting_s": max(0.0, now - min(waiting.values())) if waiting else 0.0,
        "run/evaluation_lag_images": max(0, saved.images_seen - evaluated) if saved else 0,
        "run/evaluations_since_best": evaluations_since_best(view.evaluations),
        "run/best_gfid": view.best(GFID),
        "run/worker_hours": hours,
        "run/cost_usd": None if price is None else hours * price,
        "run/restarts": view.restarts,
    }
    yield from _known(values, of)


def _counts(view: RunView) -> Iterator[Sample]:
    of = {"run": view.name}
    for kind in COUNTED_EVENTS:
        yield Sample("run/events", view.counts.get(kind, 0), of | {"kind": kind})
    for cause in sorted({*KNOWN_CAUSES, *view.failures}):
        yield Sample("run/failures", view.failures.get(cause, 0), of | {"cause": cause})
    for rank, count in view.slowest.items():
        yield Sample("run/slowest_reports", count, of | {"rank": str(rank)})


def _evaluated(evaluations: Iterable[Evaluated]) -> dict[str, float]:
    """The newest value of each number, with its uncertainty, and the images at which it was."""
    newest: dict[str, float] = {}
    for one in evaluations:
        newest |= one.values
        newest["evaluation/images_seen"] = one.images_seen
    return newest


def _known(values: dict[str, float | None], labels: dict[str, str]) -> Iterator[Sample]:
    for name, value in values.items():
        if value is not None:
            yield Sample(name, value, labels)
