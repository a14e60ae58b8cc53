"""What a campaign will take, before it starts: trials, jobs, images, hours, price and end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from system.campaign.sampling import Past
from system.campaign.sampling import propose
from system.campaign.schedule import is_open
from system.campaign.schedule import next_opening
from system.campaign.settings import Campaign
from system.campaign.trial import Overrides

STEP_S = 60.0  # of the clock that a forecast goes through windows with
LONGEST_S = 366 * 86400.0
# Of one trial that Optuna learns from nothing is known before it has run.
UNKNOWN_AHEAD = ("tpe",)


@dataclass(frozen=True, slots=True)
class Stage:
    """The jobs between one rung and the next, or those that confirm."""

    name: str
    jobs: int
    images_each: int

    @property
    def images(self) -> int:
        """Images of all its jobs."""
        return self.jobs * self.images_each


@dataclass(frozen=True, slots=True)
class Forecast:
    """What all stages take at a pace. Hours are those that jobs hold GPUs for."""

    stages: tuple[Stage, ...]
    gpu_hours: float
    cost: float
    running_s: float  # with windows open all the time
    end: float | None  # Unix time; None where no window ever opens, or not within a year
    cost_per_trial: tuple[float, ...]  # of one that ends at each rung


def stages(campaign: Campaign) -> tuple[Stage, ...]:
    """The jobs of a campaign of which none fails."""
    found, runs, before = [], campaign.most_trials, 0
    for number, images in enumerate(campaign.rungs):
        if number:
            runs = max(1, math.ceil(campaign.keep * runs - 1e-9))
        found.append(Stage(f"rung {number}: to {images:,} images", runs, images - before))
        before = images
    confirming = min(campaign.confirm.top, runs) * len(campaign.confirm.seeds)
    if confirming:
        found.append(Stage("confirmation on fresh seeds", confirming, campaign.rungs[-1]))
    return tuple(found)


def forecast(
    campaign: Campaign, images_per_s: float, gpus_per_job: float, parallel: int, now: float
) -> Forecast:
    """What the campaign takes where each job sees so many images a second, so many at once."""
    found = stages(campaign)
    job_s = sum(stage.images for stage in found) / images_per_s
    # The jobs of a stage start together; a rung ends with the last of its jobs.
    rounds = [math.ceil(stage.jobs / parallel) * stage.images_each for stage in found]
    running_s = sum(rounds) / images_per_s
    hours = job_s * gpus_per_job / 3600
    per_hour = campaign.price_per_gpu_hour
    return Forecast(
        stages=found,
        gpu_hours=hours,
        cost=hours * per_hour,
        running_s=running_s,
        end=end_of(campaign, running_s, now),
        cost_per_trial=tuple(
            images / images_per_s * gpus_per_job / 3600 * per_hour for images in campaign.rungs
        ),
    )


def end_of(campaign: Campaign, running_s: float, now: float) -> float | None:
    """When so many seconds of running are over, if jobs run inside of the windows alone."""
    windows, zone = campaign.schedule.windows, ZoneInfo(campaign.schedule.time_zone)
    if not windows:
        return now + running_s
    at, left = now, running_s
    while left > 0 and at < now + LONGEST_S:
        if is_open(windows, zone, at):
            left -= STEP_S
            at += STEP_S
            continue
        opening = next_opening(windows, zone, at)
        if opening is None:
            return None
        at = opening
    return at + min(left, 0.0) if left <= 0 else None


def trials_ahead(campaign: Campaign) -> list[Overrides]:
    """The trials that will be, in order; of a sampler that learns only those before it does."""
    count = campaign.most_trials
    if campaign.sampler.kind in UNKNOWN_AHEAD:
        count = min(count, campaign.sampler.startup_trials)
    past: list[Past] = []
    draw = 0
    while len(past) < count and (found := propose(campaign, draw, past)) is not None:
        # As if it had a value: what a sampler draws before it learns does not depend on that.
        past.append(Past(found.overrides, 0.0))
        draw = found.draw + 1
    return [each.overrides for each in past]


def forecast_table(
    campaign: Campaign, found: Forecast, pace: str, trials: Sequence[Overrides]
) -> str:
    """A forecast as text."""
    hours, spent = campaign.limits.gpu_hours, campaign.limits.cost
    lines = [f"campaign {campaign.name}: {campaign.recipe}, {campaign.objective.metric}", ""]
    lines += [
        f"  {stage.name:<34} {stage.jobs:>5} jobs of {stage.images_each:>14,} images"
        for stage in found.stages
    ]
    lines += [
        "",
        f"  pace         {pace}",
        f"  GPU-hours    {found.gpu_hours:,.3g}" + (f" of {hours:,g}" if hours else ""),
        f"  cost         {found.cost:,.3g}" + (f" of {spent:,g}" if spent else ""),
        "  cost of one  "
        + ", ".join(
            f"{cost:,.3g} to rung {rung}" for rung, cost in enumerate(found.cost_per_trial)
        ),
        f"  running      {found.running_s / 3600:,.3g} h",
        "",
    ]
    lines += [
        f"  trial {number:>3}  " + "  ".join(f"{key}={value}" for key, value in each.items())
        for number, each in enumerate(trials)
    ]
    if len(trials) < campaign.most_trials:
        lines.append(
            f"  and {campaign.most_trials - len(trials)} that are chosen by what these show"
        )
    return "\n".join(lines)
