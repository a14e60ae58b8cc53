"""What a trial is: its overrides, the digest that names it, and the settings of its run."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from system.campaign.settings import Campaign
from system.foundation.config import resolve
from system.foundation.overlay import is_file
from system.foundation.recipe import Recipe
from system.foundation.settings.engine import Cosine
from system.foundation.yaml_tree import Scalar
from system.foundation.yaml_tree import dump_inline
from system.launch.command import ROOT

Overrides = dict[str, Scalar]


def as_overrides(values: Mapping[str, Any]) -> Overrides:
    """Values of axes as they are kept: a list as it would stand on the command line."""
    return {
        key: dump_inline(value) if isinstance(value, list | tuple) else value
        for key, value in values.items()
    }


def trial_digest(overrides: Overrides) -> str:
    """Ten hex digits that name a trial: equal for equal overrides."""
    text = json.dumps(overrides, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


def run_name(campaign: Campaign, trial: str, seed: int | None = None) -> str:
    """The run of a trial; with a seed, the one that confirms it."""
    name = f"{campaign.name}-{trial}"
    return name if seed is None else f"{name}-seed{seed}"


def job_name(run: str, rung: int, number: int) -> str:
    """The job that brings a run to a rung, for the n-th time."""
    return f"{run}-r{rung}-{number}"


def shared_arguments(campaign: Campaign) -> list[str]:
    """What every trial lays over the recipe."""
    return [
        *(_in_tree(each) for each in campaign.overlays),
        *campaign.settings,
        *campaign.objective.protocol,
    ]


def run_arguments(
    campaign: Campaign, overrides: Overrides, run: str, *, images: int, seed: int | None
) -> list[str]:
    """The command line of a trial's run up to a rung; the same for every rung but for its length.

    With a seed it is a confirmation, measured by the larger protocol.
    """
    varied = [each for key, value in overrides.items() for each in _varied(campaign, key, value)]
    fresh = [] if seed is None else [f"run.seed={seed}", *campaign.confirm.protocol]
    given = [*shared_arguments(campaign), *varied, *fresh]
    files = [each for each in given if is_file(each)]
    settings = [each for each in given if not is_file(each)]
    whole = [
        *files,
        *settings,
        f"run.root={campaign.root}",
        f"run.name={run}",
        f"run.total_images={images}",
    ]
    return [*whole, *_horizon(campaign, whole)]


def trial_recipe(campaign: Campaign, arguments: list[str]) -> Recipe:
    """The recipe that these arguments make. Raises RecipeError."""
    placed = [str(ROOT / each) if is_file(each) else each for each in arguments]
    return resolve(ROOT / campaign.recipe, placed).recipe


def _horizon(campaign: Campaign, arguments: list[str]) -> list[str]:
    """A cosine that ends at the last rung, however far this rung goes: a trial that is promoted
    has then had the learning rates that it would have had without a stop."""
    schedule = trial_recipe(campaign, arguments).engine.schedule
    if not isinstance(schedule, Cosine) or schedule.horizon_images is not None:
        return []
    return [f"engine.schedule.horizon_images={campaign.rungs[-1]}"]


def _varied(campaign: Campaign, key: str, value: Scalar) -> list[str]:
    arms = campaign.space[key].arms
    if arms is not None:
        return [_in_tree(each) for each in arms[str(value)]]
    return [f"{key}={value if isinstance(value, str) else dump_inline(value)}"]


def _in_tree(argument: str) -> str:
    """An overlay of the tree by its path there: jobs run in a copy of the tree."""
    if not is_file(argument):
        return argument
    path = (ROOT / argument).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
