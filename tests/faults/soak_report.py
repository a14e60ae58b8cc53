"""What a soak came to, beside what was foreseen of it, as text and as an exit code."""

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from system.observe.goodput.costs import Costs
from system.observe.goodput.costs import GivenCosts
from system.observe.goodput.costs import chosen
from system.observe.goodput.course import course
from system.observe.goodput.forecast import Forecasting
from system.observe.goodput.forecast import answer
from system.observe.goodput.schedule import Schedule
from system.observe.goodput.schedule import foreseen
from system.observe.goodput.simulation import Trials
from system.observe.goodput.table import text
from system.telemetry.attribution import CAUSES
from system.telemetry.goodput import Account
from system.telemetry.goodput import account
from system.telemetry.ledger import Event
from system.telemetry.ledger import read_ledger

BAR = 0.95
POINTS = 0.01
GPUS = (8, 64, 512, 1024, 4096, 16384)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a soak is what it should be, and its text."""

    holds: bool
    text: str


def pace(events: Sequence[Event]) -> float:
    """Images a second while a run trained. Raises ValueError where it saved too little to tell."""
    taken = course(events)
    if taken is None:
        raise ValueError("the run that the costs are taken from saved less than twice in a life")
    return taken.interval_images / taken.interval_s


def told_forecast(schedule: Schedule, costs: Costs, run: str) -> str:
    """What the simulation says before the run, with all that it is said from."""
    trial = foreseen(schedule, costs)
    lines = [
        f"foreseen: goodput {trial.goodput[0]:.2%} of {schedule.minutes:g} minutes",
        f"  costs as measured in {run}: "
        + ", ".join(f"{name} {value:.3f}" for name, value in asdict(costs).items()),
        f"  schedule: {schedule.model_dump_json()}",
    ]
    return "\n".join(lines)


def outcome(run: str, schedule: Schedule, trial: Trials) -> Outcome:
    """The measured account beside the foreseen, the audit, and what the costs mean elsewhere."""
    events = read_ledger(run)
    spent = account(events)
    proof, proven = audit(Audit(run=run))
    apart = float(trial.goodput[0]) - spent.goodput
    judged = {
        f"goodput {spent.goodput:.2%}, at least {BAR:.0%}": spent.goodput >= BAR,
        f"foreseen {trial.goodput[0]:.2%}, {100 * apart:+.2f} points from it, at most "
        f"{100 * POINTS:g}": abs(apart) <= POINTS,
        "every image is accounted for": proof.holds,
        f"workers were killed {len(schedule.kills)} times and resized {len(schedule.resizes)} "
        "times, and trained on each time": len(spent.attempts)
        == 1 + len(schedule.kills) + len(schedule.resizes),
    }
    parts = [
        text(spent),
        beside(spent, trial),
        proven,
        answer(Forecasting(run=run, gpus=GPUS)),
        "\n".join(f"{'holds' if holds else 'MISSED':<7}{what}" for what, holds in judged.items()),
    ]
    return Outcome(all(judged.values()), "\n\n".join(parts))


def beside(spent: Account, trial: Trials) -> str:
    """Seconds by cause, measured and foreseen."""
    lines = [f"  {'spent on':<12}{'measured s':>12}{'foreseen s':>12}"]
    for cause in CAUSES:
        expected = float(getattr(trial, cause)[0]) if hasattr(trial, cause) else 0.0
        lines.append(f"  {cause:<12}{spent.seconds(cause):>12,.1f}{expected:>12,.1f}")
    return "\n".join(lines)


def costs_of(run: str) -> Costs:
    """The costs that a run's ledger tells of."""
    return chosen(GivenCosts(), read_ledger(run))


def keep(out: Path, name: str, said: str) -> None:
    """Print a text, and write it to a file."""
    print(said, flush=True)
    (out / name).write_text(f"{said}\n", "utf-8")
