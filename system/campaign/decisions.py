"""What a campaign does next: a pure function of the events in its ledger, one decision at a time.

    while (decision := next_decision(ledger.read())) is not None:
        ledger.append(decision)

Nothing here looks at a clock, a cluster or a store: what these said stands in the ledger as an
observation, before the decision that rests on it. So a ledger can be replayed, and every decision
must come out again (`replay`).

| when | what is decided |
| --- | --- |
| a job failed | by `launch/retry_policy`: again, later, or the run is given up |
| date or failures are past their limits | closed; what runs is paused |
| stopped, closed, or outside of the window | what runs is paused; what does not pause is stopped |
| budget is spent | what runs is paused, and the campaign closed |
| all of a rung have ended | the best go on: their run is made longer, and resumed by name |
| all of the last rung have ended | the best are confirmed with fresh seeds, or all is complete |
| there is room, in the cluster and in the budget | a run gets a job, or a trial is proposed |
"""

import math
from collections.abc import Callable
from collections.abc import Sequence
from datetime import datetime

from system.campaign.budget import allowance
from system.campaign.budget import is_spent
from system.campaign.ledger import Closed
from system.campaign.ledger import Confirming
from system.campaign.ledger import Decision
from system.campaign.ledger import Event
from system.campaign.ledger import Exhausted
from system.campaign.ledger import GivenUp
from system.campaign.ledger import Killed
from system.campaign.ledger import Launched
from system.campaign.ledger import Paused
from system.campaign.ledger import Promoted
from system.campaign.ledger import Proposed
from system.campaign.sampling import Past
from system.campaign.sampling import propose
from system.campaign.standing import Standing
from system.campaign.standing import TrialRun
from system.campaign.trial import job_name
from system.campaign.trial import run_name
from system.campaign.trial import trial_digest
from system.launch.retry_policy import Room
from system.launch.retry_policy import decide

DECISIONS = (
    Proposed, Exhausted, Launched, Paused, Killed, Promoted, Confirming, GivenUp, Closed,
)  # fmt: skip


def next_decision(events: Sequence[Event]) -> Decision | None:
    """What to decide after these events; None where there is nothing, until more is observed."""
    standing = Standing(events)
    if standing.began is None or not standing.observations:
        return None
    for rule in RULES:
        if (decision := rule(standing)) is not None:
            return decision
    return None


def replay(events: Sequence[Event]) -> list[str]:
    """What differs when the decisions of a ledger are made again; nothing, if all is well."""
    differences = []
    for number, event in enumerate(events):
        if isinstance(event, DECISIONS) and (again := next_decision(events[:number])) != event:
            differences.append(f"event {number}: {event!r} was written, {again!r} comes out")
    return differences


def _give_up(standing: Standing) -> Decision | None:
    for run in standing.runs.values():
        if run.failed is None or run.given_up or run.is_done:
            continue
        verdict = decide(run.failures, Room(standing.campaign.retries.crashes))
        if verdict.action != "restart":
            reason = f"{verdict.reason}. {run.message}".strip()
            return GivenUp(time=standing.now, run=run.name, reason=reason)
    return None


def _kill(standing: Standing) -> Decision | None:
    grace_s = standing.campaign.limits.grace_s
    for job in standing.open_jobs:
        if job.paused is not None and not job.killed and standing.now > job.paused + grace_s:
            return Killed(time=standing.now, job=job.name)
    return None


def _close(standing: Standing) -> Decision | None:
    if standing.closed is not None:
        return None
    limits, failed = standing.campaign.limits, len(standing.given_up)
    if (
        limits.until is not None
        and standing.now >= datetime.fromisoformat(limits.until).timestamp()
    ):
        return _closed(standing, f"its date is past: {limits.until}")
    if failed > limits.failures:
        return _closed(standing, f"{failed} runs were given up, more than {limits.failures}")
    if is_spent(standing):
        return _closed(standing, "its budget is spent")
    return None


def _pause(standing: Standing) -> Decision | None:
    if (reason := halted(standing)) is None:
        return None
    for job in standing.open_jobs:
        if job.paused is None:
            return Paused(time=standing.now, job=job.name, reason=reason)
    return None


def _rest(standing: Standing) -> Decision | None:
    """A rung that is complete leads on; nothing else is decided about one that is not."""
    if halted(standing) is not None or not _is_rung_over(standing):
        return None
    best = standing.ranked(standing.on_rung)
    if not best:
        return _closed(standing, "no trial has a value")
    if standing.rung + 1 < len(standing.campaign.rungs):
        return _promoted(standing, best)
    if standing.confirming is None and standing.campaign.confirm.top:
        return _confirming(standing, best)
    confirming = [run for run in standing.runs.values() if run.seed is not None]
    if all(run.is_done or run.given_up for run in confirming):
        return _closed(standing, "all is measured", complete=True)
    return None


def _launch(standing: Standing) -> Decision | None:
    if halted(standing) is not None or not _has_room(standing):
        return None
    waiting = [run for run in standing.runs.values() if run.is_waiting and _is_due(standing, run)]
    waiting = [run for run in waiting if run.seed is not None or run.rung == standing.rung]
    if not waiting:
        return None
    run = waiting[0]
    images = standing.campaign.rungs[run.rung]
    granted = allowance(standing, images - run.images_seen)
    if granted is None:
        return None if standing.open_jobs else _closed(standing, "its budget suffices no further")
    name = job_name(run.name, run.rung, len(run.jobs))
    return Launched(
        time=standing.now, job=name, run=run.name, rung=run.rung, images=images,
        allowed_s=granted.seconds,
    )  # fmt: skip


def _propose(standing: Standing) -> Decision | None:
    if halted(standing) is not None or not _has_room(standing) or _are_all_proposed(standing):
        return None
    # A trial that cannot be started now is proposed later, when more is known.
    if any(run.is_waiting for run in standing.runs.values()):
        return None
    if allowance(standing, standing.campaign.rungs[0]) is None:
        return None if standing.open_jobs else _closed(standing, "its budget suffices no further")
    past = [
        Past(
            t.overrides, t.run.values[0].value if 0 in t.run.values else None, bool(t.run.given_up)
        )
        for t in standing.trials.values()
    ]
    found = propose(standing.campaign, standing.next_draw, past)
    if found is None:
        return Exhausted(time=standing.now)
    trial = trial_digest(found.overrides)
    return Proposed(
        time=standing.now, trial=trial, run=run_name(standing.campaign, trial), draw=found.draw,
        overrides=found.overrides,
    )  # fmt: skip


RULES: tuple[Callable[[Standing], Decision | None], ...] = (
    _give_up, _kill, _close, _pause, _rest, _launch, _propose,
)  # fmt: skip


def halted(standing: Standing) -> str | None:
    """Why nothing may run now; None where it may."""
    if standing.closed is not None:
        return f"the campaign is closed: {standing.closed.reason}"
    if standing.stopped:
        return "the campaign was stopped"
    if not standing.is_in_window:
        return "outside of the schedule's windows"
    return None


def places(standing: Standing) -> int:
    """Jobs that may run at once; none while the cluster does not answer."""
    return min(
        standing.capacity or 0,
        standing.campaign.limits.parallel or standing.capacity or 0,
    )


def _has_room(standing: Standing) -> bool:
    return len(standing.open_jobs) < places(standing)


def _is_due(standing: Standing, run: TrialRun) -> bool:
    """Whether a run that failed has waited long enough."""
    if run.failed is None:
        return True
    verdict = decide(run.failures, Room(standing.campaign.retries.crashes))
    return standing.now >= run.failed + verdict.wait_s


def _are_all_proposed(standing: Standing) -> bool:
    return standing.exhausted or len(standing.trials) >= standing.campaign.most_trials


def _is_rung_over(standing: Standing) -> bool:
    return _are_all_proposed(standing) and all(run.is_done for run in standing.on_rung)


def _promoted(standing: Standing, best: list[TrialRun]) -> Promoted:
    values = {run.trial: run.values[standing.rung].value or 0.0 for run in best}
    entered = [t for t in standing.trials.values() if t.run.rung == standing.rung]
    kept = max(1, math.ceil(standing.campaign.keep * len(entered) - 1e-9))
    return Promoted(
        time=standing.now,
        rung=standing.rung + 1,
        kept=tuple(run.trial for run in best[:kept]),
        values=values,
    )


def _confirming(standing: Standing, best: list[TrialRun]) -> Confirming:
    confirm = standing.campaign.confirm
    trials = [run.trial for run in best[: confirm.top]]
    return Confirming(
        time=standing.now,
        trials=tuple(trials),
        runs={
            run_name(standing.campaign, trial, seed): seed
            for trial in trials
            for seed in confirm.seeds
        },
    )


def _closed(standing: Standing, reason: str, *, complete: bool = False) -> Closed:
    return Closed(time=standing.now, reason=reason, complete=complete)
