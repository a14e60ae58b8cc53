"""What `jobs/simulate_goodput.py` is asked, and how it answers: goodput by a cluster's size."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace

import numpy as np
from pydantic import Field

from system.foundation.errors import BadInput
from system.foundation.settings.record import Record
from system.observe.goodput.costs import Costs
from system.observe.goodput.costs import GivenCosts
from system.observe.goodput.costs import chosen
from system.observe.goodput.costs import measured
from system.observe.goodput.course import course
from system.observe.goodput.failure_rates import HOUR_S
from system.observe.goodput.failure_rates import RATES
from system.observe.goodput.interval import best_s
from system.observe.goodput.interval import daly_s
from system.observe.goodput.interval import expected_goodput
from system.observe.goodput.interval import young_s
from system.observe.goodput.schedule import Schedule
from system.observe.goodput.schedule import foreseen
from system.observe.goodput.simulation import Trials
from system.observe.goodput.simulation import known_lives
from system.observe.goodput.simulation import random_lives
from system.observe.goodput.simulation import simulate
from system.telemetry.goodput import account
from system.telemetry.ledger import Event
from system.telemetry.ledger import read_ledger

DAY_S = 86400.0
# Times the closed form's best, in steps of a tenth of an octave and more: the optimum is flat.
AROUND = (0.25, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0, 4.0)
LOSSES = ("replayed", "checkpoint", "data_wait", "start_up", "detection")
LOWERED = ("stall_s", "upload_s", "detection_s", "start_up_s", "data_wait_share")


class Forecasting(Record):
    """Costs of a run, cluster sizes, and how long and how often each is simulated."""

    run: str | None = Field(None, description="folder or url of a run whose costs are taken")
    costs: GivenCosts = Field(default_factory=GivenCosts, description="costs that are given")
    gpus: tuple[int, ...] = Field(
        (8, 64, 512, 1024, 4096, 16384), description="sizes of clusters, in GPUs"
    )
    days: float = Field(30.0, gt=0, description="training to be done, in days without a failure")
    trials: int = Field(200, gt=1, description="simulated runs for each size and interval")
    seed: int = Field(0, ge=0, description="of the failures")
    bar: float = Field(0.97, gt=0, lt=1, description="goodput that a run shall reach")
    schedule: Schedule | None = Field(
        None, description="a run whose kills and resizes are known: what it will come to"
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One cluster under one published rate of failures, at its best interval."""

    rate: str
    gpus: int
    failure_s: float
    interval_s: float  # the best of those simulated
    young_s: float
    daly_s: float
    closed_s: float
    trials: Trials
    expected: float  # goodput in closed form, at `interval_s`

    def interval(self) -> tuple[float, float]:
        """Where nine of ten trials ended."""
        low, high = np.quantile(self.trials.goodput, (0.05, 0.95))
        return float(low), float(high)

    def losses(self) -> dict[str, float]:
        """Mean share of the wall time by loss, the largest first."""
        wall = self.trials.wall
        shares = {name: float(np.mean(getattr(self.trials, name) / wall)) for name in LOSSES}
        return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def answer(request: Forecasting) -> str:
    """The forecast as text, with what the run itself came to where one is named.

    Raises BadInput where that run has no account.
    """
    events = read_ledger(request.run) if request.run is not None else []
    if request.run is not None and not measured(events):
        raise BadInput(
            f"run={request.run}: found no ledger that tells of a run's course; expected the folder "
            "of a run, <run.root>/<run.name>, or run=null with costs of your own"
        )
    costs = replace(chosen(request.costs, events), closing_s=0.0)
    rows = [row(request, costs, rate, gpus) for rate in RATES for gpus in request.gpus]
    parts = [told_costs(costs, request, events), table(rows), *verdicts(costs, rows, request.bar)]
    if request.schedule is not None:
        trial = foreseen(request.schedule, chosen(request.costs, events))
        parts.append(f"the schedule: goodput {trial.goodput[0]:.2%} of {trial.wall[0]:,.0f} s")
    if events and (own := prediction(events)) is not None:
        goodput = account(events).goodput
        parts.append(
            f"this run's own course: goodput {goodput:.1%}, simulated with its costs and failures "
            f"{own:.1%} ({100 * (own - goodput):+.1f} points)"
        )
    return "\n\n".join(parts)


def row(request: Forecasting, costs: Costs, rate: str, gpus: int) -> Row:
    """Simulate one cluster at intervals around the closed form's best, and keep the best of them.
    All intervals meet the same failures."""
    failure_s = RATES[rate](gpus)
    closed_s = best_s(costs, failure_s)
    lives = random_lives(request.seed, f"failures/{rate}/{gpus}", request.trials, failure_s)
    training_s = request.days * DAY_S
    found = {
        interval_s: simulate(costs, interval_s, training_s, lives)
        for interval_s in (closed_s * factor for factor in AROUND)
    }
    best = max(found, key=lambda interval_s: float(found[interval_s].goodput.mean()))
    return Row(
        rate,
        gpus,
        failure_s,
        best,
        young_s(costs.stall_s, failure_s),
        daly_s(costs.stall_s, failure_s),
        closed_s,
        found[best],
        expected_goodput(costs, best, failure_s),
    )


def prediction(events: Sequence[Event]) -> float | None:
    """The goodput of a run as the simulation sees it: with its costs, its saves, its failures."""
    taken = course(events)
    if taken is None:
        return None
    costs = chosen(GivenCosts(), events)
    lives = known_lives(*taken.lives_s(costs))
    found = simulate(costs, taken.interval_s, taken.training_s, lives, announced=taken.announced)
    return float(found.goodput[0])


def told_costs(costs: Costs, request: Forecasting, events: Sequence[Event]) -> str:
    """Every cost, and where it comes from."""
    found, given = measured(events), request.costs.model_dump(exclude_none=True)
    lines = [f"{request.trials} runs of {request.days:g} days each, seed {request.seed}; costs:"]
    for field in fields(costs):
        if field.name in ("closing_s", "launch_s"):  # once in a run
            continue
        origin = "given" if field.name in given else "measured" * (field.name in found) or "assumed"
        value = getattr(costs, field.name)
        shown = f"{value:.2%}" if field.name == "data_wait_share" else f"{value:,.2f} s"
        lines.append(f"  {field.name:<16}{shown:>10}  {origin}")
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """All rows in Markdown: docs/results/goodput.md has it as it is printed."""
    lines = [
        "| failures as | GPUs | mean time to failure | best interval (closed form; Young; Daly) | "
        "goodput (5 to 95 %) | closed form | largest loss |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for each in rows:
        low, high = each.interval()
        loss, share = next(iter(each.losses().items()))
        lines.append(
            f"| {each.rate} | {each.gpus:,} | {each.failure_s / HOUR_S:,.1f} h | "
            f"{each.interval_s:,.0f} s ({each.closed_s:,.0f}; {each.young_s:,.0f}; "
            f"{each.daly_s:,.0f}) | {each.trials.goodput.mean():.2%} ({low:.2%} to {high:.2%}) | "
            f"{each.expected:.2%} | {loss.replace('_', ' ')} {share:.2%} |"
        )
    return "\n".join(lines)


def verdicts(costs: Costs, rows: Sequence[Row], bar: float) -> list[str]:
    """Where the bar is reached; where not, which cost is in the way."""
    told = []
    for rate in dict.fromkeys(each.rate for each in rows):
        own = [each for each in rows if each.rate == rate]
        short = [each for each in own if each.trials.goodput.mean() < bar]
        reached = ", ".join(f"{each.gpus:,}" for each in own if each not in short) or "none"
        lines = [f"{rate}: {bar:.0%} is reached at {reached} GPUs."]
        lines += [f"  {each.gpus:,}: {in_the_way(costs, each)}" for each in short]
        told.append("\n".join(lines))
    return told


def in_the_way(costs: Costs, short: Row) -> str:
    """Which cost lowers a row's goodput most: the one without which it would be highest."""
    without = {}
    for name in LOWERED:
        spared = replace(costs, **{name: 0.0})
        interval_s = best_s(spared, short.failure_s)
        without[name] = expected_goodput(spared, interval_s, short.failure_s)
    name = max(without, key=lambda each: without[each])
    losses = ", ".join(f"{n.replace('_', ' ')} {s:.2%}" for n, s in short.losses().items())
    return f"{name} is in the way: without it {without[name]:.2%}. Lost to {losses}"
