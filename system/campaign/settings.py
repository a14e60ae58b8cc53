"""What a campaign file says: what is tried, how it is judged, and what it may take.

    python jobs/run_campaign.py plan configs/campaigns/digits_spread.yaml

Keys of `space` are keys of the recipe. All that is counted is counted in images seen; a GPU-hour is
an hour of a job times the GPUs that it holds (its workers, on a cluster without GPUs).
"""

import hashlib
import json
import math
from datetime import datetime
from typing import Annotated
from typing import Any
from typing import Literal
from typing import Self
from zoneinfo import ZoneInfo
from zoneinfo import ZoneInfoNotFoundError

from pydantic import Field
from pydantic import field_validator
from pydantic import model_validator

from system.campaign.schedule import Window
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight

# What may be changed while a campaign runs: nothing that changes what a number means.
AMENDABLE = ("limits", "schedule", "retries", "price_per_gpu_hour")


class Axis(Record):
    """One thing that is varied: exactly one of choices, arms, linear and log."""

    choices: tuple[Any, ...] | None = Field(None, description="values of the key, one by one")
    arms: dict[str, tuple[str, ...]] | None = Field(
        None,
        description="named sets of overlays and settings, where several keys go together; the "
        "axis then bears a name of its own",
    )
    linear: tuple[float, float] | None = Field(None, description="least and greatest value")
    log: tuple[PositiveFloat, PositiveFloat] | None = Field(
        None, description="least and greatest value, even in the logarithm"
    )
    step: PositiveFloat | None = Field(
        None, description="distance of values on a linear range; 1 for whole numbers"
    )
    points: Annotated[int, Field(ge=2)] | None = Field(
        None, description="values of a range in a grid, both ends among them"
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [n for n in ("choices", "arms", "linear", "log") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected one of choices, arms, linear, log; found {given or 'none of them'}"
            )
        if (self.choices is not None and not self.choices) or self.arms == {}:
            raise ValueError(f"{given[0]} is empty")
        if self.choices is not None and len({_text(each) for each in self.choices}) < len(
            self.choices
        ):
            raise ValueError(f"choices has one twice: {list(self.choices)}")
        if (ends := self.linear or self.log) is not None and ends[0] >= ends[1]:
            raise ValueError(f"{given[0]} {list(ends)}: the least value comes first")
        if self.step is not None and self.linear is None:
            raise ValueError("step is for a linear range")
        return self

    def grid(self) -> list[Any] | None:
        """Its values in a grid; None where a range says no number of them."""
        if self.choices is not None:
            return [*self.choices]
        if self.arms is not None:
            return [*self.arms]
        if self.points is None:
            return None
        low, high = self.linear or self.log or (0.0, 0.0)
        shares = [number / (self.points - 1) for number in range(self.points)]
        if self.log is not None:
            return [_rounded(low * (high / low) ** share) for share in shares]
        return [_rounded(low + (high - low) * share) for share in shares]


class Objective(Record):
    """The number that trials are compared by. Every trial is measured by the same protocol."""

    metric: str = Field(
        description="a registered metric: evaluation/... of the evaluation at the end of a rung, "
        "or any that a run reports"
    )
    direction: Literal["min", "max"] = Field("min", description="what is better")
    protocol: tuple[str, ...] = Field(
        (), description="settings of every trial's evaluation, as on the command line"
    )


class Sampler(Record):
    """How trials are chosen. Optuna's samplers, but for the grid."""

    kind: Literal["grid", "random", "sobol", "tpe"] = Field(
        "grid",
        description="grid: every combination; random; sobol: evenly spread; tpe: where it was good",
    )
    seed: int = Field(0, ge=0, description="trial n is a function of the seed, n and the ledger")
    startup_trials: PositiveInt = Field(
        8, description="trials of tpe that are random, before it learns from them"
    )


class Limits(Record):
    """Where a campaign ends, or waits."""

    trials: PositiveInt = Field(description="trials at most")
    parallel: PositiveInt | None = Field(
        None, description="jobs at once; null: as many as the cluster has room for"
    )
    gpu_hours: PositiveFloat | None = Field(None, description="GPU-hours of all jobs; null: any")
    cost: PositiveFloat | None = Field(None, description="price of these hours; null: any")
    until: str | None = Field(None, description="date and time, with its zone, of the end")
    failures: Annotated[int, Field(ge=0)] = Field(
        4, description="trials that may be given up before the campaign ends"
    )
    images_per_s: PositiveFloat | None = Field(
        None,
        description="pace of one job, until it is measured; null: with a limit of hours or cost "
        "the first job runs alone, and measures it",
    )
    grace_s: PositiveFloat = Field(
        120.0, description="seconds a paused job may take to save and end; then it is stopped"
    )

    @field_validator("until")
    @classmethod
    def _is_a_time(cls, until: str | None) -> str | None:
        if until is not None and datetime.fromisoformat(until).tzinfo is None:
            raise ValueError(f"{until!r} names no zone; write 2026-12-24T00:00Z or +01:00")
        return until


class Retries(Record):
    """What becomes of a job that failed; see system/launch/retry_policy.py for causes."""

    crashes: Annotated[int, Field(ge=-1)] = Field(
        2, description="failures in a row, with no new checkpoint between, that are tried again"
    )


class Schedule(Record):
    """When jobs may run. Outside of every window they are paused, with a checkpoint."""

    time_zone: str = Field("UTC", description="of the windows; a name such as Europe/Paris")
    windows: tuple[Window, ...] = Field((), description="none: always")

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is no time zone known here") from error
        return name


class Confirm(Record):
    """The best trials once more, with seeds that they were not chosen by."""

    top: Annotated[int, Field(ge=0)] = Field(0, description="trials that are confirmed; 0 for none")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((), description="values of run.seed")
    protocol: tuple[str, ...] = Field(
        (), description="settings over those of the trials: a larger protocol"
    )

    @model_validator(mode="after")
    def _has_seeds(self) -> Self:
        if bool(self.top) != bool(self.seeds) or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"confirm.top {self.top} with seeds {list(self.seeds)}: expected both or neither, "
                "and seeds that differ"
            )
        return self


class Campaign(Record):
    """One campaign, whole."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)] = Field(
        description="name of the campaign; its runs are named after it"
    )
    root: str = Field("runs", description="folder or url that holds its runs and its ledger")
    recipe: str = Field(description="recipe that is varied, a path in the tree")
    overlays: tuple[str, ...] = Field((), description="overlays of every trial")
    settings: tuple[str, ...] = Field((), description="key.path=value settings of every trial")
    objective: Objective
    space: dict[str, Axis] = Field(description="what is varied, by key of the recipe")
    sampler: Sampler = Sampler()
    rungs: tuple[PositiveInt, ...] = Field(
        description="images seen at which trials are compared, the last one their full length"
    )
    keep: Annotated[float, Field(gt=0, le=1)] = Field(
        0.34, description="share of the trials of a rung that goes on to the next"
    )
    limits: Limits
    price_per_gpu_hour: Weight = Field(0.0, description="for the limit of cost")
    retries: Retries = Retries()
    schedule: Schedule = Schedule()
    confirm: Confirm = Confirm()

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if not self.space:
            raise ValueError("space is empty: there is nothing to vary")
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs {list(self.rungs)}: expected at least one, and growing")
        endless = [key for key, axis in self.space.items() if axis.grid() is None]
        if self.sampler.kind == "grid" and endless:
            raise ValueError(f"a grid over the range {endless[0]} needs its number of points")
        if self.limits.cost is not None and not self.price_per_gpu_hour:
            raise ValueError("limits.cost needs price_per_gpu_hour")
        return self

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with anything that may not change while it runs."""
        kept = self.model_dump(mode="json", exclude={*AMENDABLE, "root"})
        kept["trials"] = self.limits.trials
        return hashlib.blake2b(_text(kept).encode(), digest_size=8).hexdigest()

    @property
    def most_trials(self) -> int:
        """Trials at most: no more than a space without ranges holds."""
        sizes = [
            None if axis.linear or axis.log else len(axis.grid() or ())
            for axis in self.space.values()
        ]
        if self.sampler.kind == "grid":
            sizes = [len(axis.grid() or ()) for axis in self.space.values()]
        finite = [size for size in sizes if size is not None]
        whole = math.prod(finite) if len(finite) == len(sizes) else self.limits.trials
        return min(self.limits.trials, whole)

    @property
    def gpu_seconds(self) -> float | None:
        """What all jobs may take together: the tighter of hours and cost; None for any."""
        limits = []
        if self.limits.gpu_hours is not None:
            limits.append(self.limits.gpu_hours * 3600)
        if self.limits.cost is not None:
            limits.append(self.limits.cost / self.price_per_gpu_hour * 3600)
        return min(limits, default=None)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _rounded(value: float) -> float:
    """To nine digits: 0.3, and not 0.30000000000000004, in the names of things."""
    return float(f"{value:.9g}")
