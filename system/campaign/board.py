"""A campaign's leaderboard, from where it stands."""

import math
from statistics import fmean
from statistics import stdev

from system.campaign.decisions import halted
from system.campaign.standing import Standing
from system.campaign.standing import Trial
from system.campaign.standing import TrialRun
from system.observe.leaderboard import Leaderboard
from system.observe.leaderboard import Row
from system.observe.leaderboard import ranked


def leaderboard(standing: Standing, now: float) -> Leaderboard:
    """What a campaign shows of itself at a time."""
    campaign = standing.campaign
    rows = [_row(standing, trial) for trial in standing.trials.values()]
    per_hour, spent = campaign.price_per_gpu_hour, standing.spent_s(now) / 3600
    return Leaderboard(
        campaign=campaign.name,
        objective=campaign.objective.metric,
        direction=campaign.objective.direction,
        state=state_of(standing),
        trials=ranked(rows, campaign.objective.direction),
        gpu_hours_spent=spent,
        gpu_hours_limit=campaign.limits.gpu_hours,
        cost_spent=spent * per_hour,
        cost_limit=campaign.limits.cost,
        rungs=campaign.rungs,
        updated=now,
    )


def state_of(standing: Standing) -> str:
    """A campaign's state in a word or two."""
    if standing.closed is not None:
        return "complete" if standing.closed.complete else f"closed: {standing.closed.reason}"
    if halted(standing) is not None:
        return "stopped" if standing.stopped else "waiting for its window"
    return "running"


def run_state(run: TrialRun) -> str:
    """A run's state in a word or two."""
    if run.given_up:
        return "given up"
    if run.is_open:
        return "pausing" if run.jobs[-1].paused is not None else "running"
    if run.is_done:
        return "measured"
    return "waiting"


def confirmed(standing: Standing, trial: str) -> tuple[float, float | None] | None:
    """Mean over the runs with fresh seeds and its standard error; None until all are measured."""
    runs = [run for run in standing.runs.values() if run.seed is not None and run.trial == trial]
    runs = [run for run in runs if not run.given_up]
    found = [run.values[run.rung] for run in runs if run.is_done]
    values = [each.value for each in found if each.value is not None]
    if not values or len(values) < len(runs):
        return None
    if len(values) == 1:
        return values[0], found[0].error
    return fmean(values), stdev(values) / math.sqrt(len(values))


def _row(standing: Standing, trial: Trial) -> Row:
    run = trial.run
    newest = max(run.values, default=None)
    value = run.values[newest] if newest is not None else None
    mean, spread = confirmed(standing, trial.digest) or (None, None)
    return Row(
        trial=trial.digest,
        run=run.name,
        overrides=trial.overrides,
        state=run_state(run),
        rung=newest if newest is not None else run.rung,
        images_seen=run.images_seen,
        value=value.value if value else None,
        error=value.error if value else None,
        confirmed_value=mean,
        confirmed_error=spread,
    )
