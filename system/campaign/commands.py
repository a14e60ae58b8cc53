"""The commands of `jobs/run_campaign.py`: plan, start, tick, status, stop, resume and the rest."""

import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from system.campaign import tick as turn
from system.campaign.board import leaderboard
from system.campaign.board import run_state
from system.campaign.board import state_of
from system.campaign.cluster import RayCluster
from system.campaign.decisions import replay
from system.campaign.forecast import forecast
from system.campaign.forecast import forecast_table
from system.campaign.forecast import trials_ahead
from system.campaign.ledger import CampaignLedger
from system.campaign.ledger import Resumed
from system.campaign.ledger import Stopped
from system.campaign.observation import capacity
from system.campaign.observation import gpus_per_job
from system.campaign.schedule import next_opening
from system.campaign.settings import Campaign
from system.campaign.standing import Standing
from system.campaign.trial import run_arguments
from system.campaign.trial import run_name
from system.campaign.trial import trial_digest
from system.campaign.trial import trial_recipe
from system.foundation import storage
from system.foundation.config import Resolved
from system.foundation.errors import BadInput
from system.foundation.errors import ExitCode
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.launch.command import Terminated
from system.observe.leaderboard import Leaderboard
from system.telemetry.ledger import read_ledger

ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
LOCAL = "http://127.0.0.1:8265"
MANY = 1e9

Action = Literal[
    "plan", "start", "tick", "status", "stop", "resume", "leaderboard", "promote", "replay"
]


class Request(Campaign):
    """A campaign, and what is to be done with it."""

    action: Action = Field("status", description="the command; the first word of the command line")
    address: str | None = Field(
        None,
        description="url of the cluster's job API; null: RAY_API_SERVER_ADDRESS or RAY_ADDRESS, "
        "where they are urls, else http://127.0.0.1:8265",
    )
    every_s: PositiveFloat = Field(30.0, description="start: seconds between two ticks")
    pace_from: str | None = Field(
        None, description="plan: folder of a run whose measured throughput is taken"
    )
    gpus: PositiveInt | None = Field(
        None, description="plan: GPUs there will be; null: those of the cluster, or one job's"
    )
    trial: str | None = Field(None, description="promote: digest of a trial; null: the best")
    total_images: PositiveInt | None = Field(
        None, description="promote: images of the full run; null: those of the recipe"
    )

    @property
    def campaign(self) -> Campaign:
        """The campaign alone, with its root absolute."""
        values = self.model_dump(mode="json", include=set(Campaign.model_fields))
        return Campaign.model_validate(values | {"root": storage.absolute(self.root)})


def main(resolved: Resolved[Request]) -> int:
    """Do what the command line asks for. The exit code."""
    request = resolved.recipe
    return COMMANDS[request.action](request) or ExitCode.DONE


def _plan(request: Request) -> int:
    campaign = request.campaign
    trials = trials_ahead(campaign)
    for overrides in trials:
        name = run_name(campaign, trial_digest(overrides))
        given = run_arguments(campaign, overrides, name, images=campaign.rungs[0], seed=None)
        trial_recipe(campaign, given)
    recipe = turn.shared_recipe(campaign)
    gpus = float(request.gpus or recipe.cluster.workers)
    there = {"GPU": gpus, "CPU": MANY} if recipe.cluster.device != "cpu" else {"CPU": gpus}
    room = max(1, capacity(recipe, there))
    parallel = min(room, campaign.limits.parallel or room)
    images_per_s, said = _pace(request)
    found = forecast(campaign, images_per_s, gpus_per_job(recipe, there), parallel, time.time())
    print(forecast_table(campaign, found, f"{said}, {parallel} at once", trials))
    zone = ZoneInfo(campaign.schedule.time_zone)
    end = "never: no window opens" if found.end is None else datetime.fromtimestamp(found.end, zone)
    print(f"\n  started now it would end {end}")
    return ExitCode.DONE


def _pace(request: Request) -> tuple[float, str]:
    """Images per second of one job, and where that number is from."""
    if request.pace_from is not None:
        reports = [e for e in read_ledger(request.pace_from) if e["kind"] == "report"]
        rates = sorted(e["values"]["throughput/images_per_s"] for e in reports)
        if not rates:
            raise BadInput(f"pace_from={request.pace_from}: this run has reported no throughput")
        rate = rates[len(rates) // 2]
        return rate, f"{rate:,.3g} images/s, as {request.pace_from} had"
    if request.limits.images_per_s is not None:
        rate = request.limits.images_per_s
        return rate, f"{rate:,.3g} images/s, as limits.images_per_s says"
    raise BadInput(
        "nothing says how fast a job is: give pace_from=runs/..., a run of this recipe on these "
        "GPUs, or limits.images_per_s"
    )


def _start(request: Request) -> int:
    ledger, cluster = _ledger(request), _cluster(request)
    turn.begin(request.campaign, ledger, cluster, time.time())
    try:
        standing = turn.follow(ledger, cluster, request.every_s, _say())
    except KeyboardInterrupt as ended:
        print("the controller ends; jobs go on, and the next start or tick takes over. To pause")
        print("them, stop the campaign.", flush=True)
        return ExitCode.PREEMPTED if isinstance(ended, Terminated) else ExitCode.INTERRUPTED
    return _finished(standing)


def _tick(request: Request) -> int:
    ledger, cluster = _ledger(request), _cluster(request)
    turn.begin(request.campaign, ledger, cluster, time.time())
    print(_line(turn.tick(ledger, cluster, time.time())))
    return ExitCode.DONE


def _stop(request: Request) -> int:
    ledger = _begun(request)
    turn.wish(ledger, Stopped(time=time.time()))
    print(_line(turn.tick(ledger, _cluster(request), time.time())))
    return ExitCode.DONE


def _resume(request: Request) -> int:
    ledger = _begun(request)
    changed = turn.amend(request.campaign, ledger, time.time())
    if changed:
        print(f"changed: {', '.join(changed)}")
    turn.wish(ledger, Resumed(time=time.time()))
    print(_line(turn.tick(ledger, _cluster(request), time.time())))
    return ExitCode.DONE


def _status(request: Request) -> int:
    standing = Standing(_begun(request).read())
    print(_line(standing))
    for run in standing.runs.values():
        why = f"  {run.given_up}" if run.given_up else ""
        print(f"  {run.name:<40} rung {run.rung}  {run.images_seen:>12,}  {run_state(run)}{why}")
    zone = ZoneInfo(standing.campaign.schedule.time_zone)
    opening = next_opening(standing.campaign.schedule.windows, zone, time.time())
    if opening is not None:
        print(f"  next window opens {datetime.fromtimestamp(opening, zone)}")
    return ExitCode.DONE


def _leaderboard(request: Request) -> int:
    print(table(leaderboard(Standing(_begun(request).read()), time.time())))
    return ExitCode.DONE


def _replay(request: Request) -> int:
    events = _begun(request).read()
    differences = replay(events)
    print("\n".join([f"{len(events)} events, {len(differences)} differ", *differences]))
    return ExitCode.FAILED if differences else ExitCode.DONE


def _promote(request: Request) -> int:
    """Print the command that makes a trial's run a full one: longer, and resumed by its name."""
    standing = Standing(_begun(request).read())
    best = leaderboard(standing, time.time()).best
    trial = request.trial or (best.trial if best is not None else None)
    if trial not in standing.trials:
        raise BadInput(f"trial {trial}: expected one of {', '.join(standing.trials) or 'none yet'}")
    campaign, chosen = request.campaign, standing.trials[trial]
    images = request.total_images or turn.shared_recipe(campaign).run.total_images
    given = run_arguments(campaign, chosen.overrides, chosen.run.name, images=images, seed=None)
    script = campaign.recipe.rpartition("/")[2].removesuffix(".yaml")
    lines = " \\\n    ".join(f"'{each}'" for each in given)
    print(f"ray job submit --working-dir . -- python jobs/{script}.py \\\n    {lines}")
    return ExitCode.DONE


def table(board: Leaderboard) -> str:
    """A leaderboard as text."""
    limit = f" of {board.gpu_hours_limit:g}" if board.gpu_hours_limit else ""
    lines = [
        f"{board.campaign}: {board.state}; {board.objective} ({board.direction}); "
        f"{board.gpu_hours_spent:.3g}{limit} GPU-hours"
    ]
    for row in board.trials:
        overrides = " ".join(f"{key}={value}" for key, value in row.overrides.items())
        lines.append(
            f"  {row.trial}  {row.images_seen:>12,}  {_number(row.value, row.error):>16}  "
            f"{_number(row.confirmed_value, row.confirmed_error):>16}  {row.state:<9}  {overrides}"
        )
    return "\n".join(lines)


def _number(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" + (f" ± {error:.2g}" if error is not None else "")


def _line(standing: Standing) -> str:
    done = sum(run.is_done for run in standing.on_rung)
    return (
        f"{standing.campaign.name}: {state_of(standing)}; rung {standing.rung}, {done} of "
        f"{len(standing.on_rung)} measured; {len(standing.trials)} trials, "
        f"{len(standing.open_jobs)} jobs running, {len(standing.given_up)} runs given up"
    )


def _say() -> Callable[[Standing], None]:
    """Prints where a campaign stands whenever that has changed."""
    last = ""

    def say(standing: Standing) -> None:
        nonlocal last
        if (line := _line(standing)) != last:
            print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)
            last = line

    return say


def _finished(standing: Standing) -> int:
    print(table(leaderboard(standing, time.time())))
    assert standing.closed is not None, "it was followed to its end"
    return ExitCode.DONE if standing.closed.complete else ExitCode.FAILED


def _ledger(request: Request) -> CampaignLedger:
    return CampaignLedger(request.campaign.root, request.name)


def _begun(request: Request) -> CampaignLedger:
    ledger = _ledger(request)
    if not ledger.read():
        raise BadInput(
            f"there is no campaign {request.name!r} under {request.campaign.root}; start it first"
        )
    return ledger


def _cluster(request: Request) -> RayCluster:
    told = [os.environ.get(name, "") for name in ADDRESSES]
    given = [each for each in told if each.startswith(("http://", "https://"))]
    return RayCluster(request.address or next(iter(given), LOCAL))


COMMANDS: dict[Action, Callable[[Request], int]] = {
    "plan": _plan,
    "start": _start,
    "tick": _tick,
    "status": _status,
    "stop": _stop,
    "resume": _resume,
    "leaderboard": _leaderboard,
    "promote": _promote,
    "replay": _replay,
}
