"""What is seen of a campaign's jobs and runs: the facts that decisions rest on."""

import math
from collections.abc import Mapping

from system.campaign.cluster import Cluster
from system.campaign.cluster import Seen
from system.campaign.ledger import Ended
from system.campaign.ledger import Observed
from system.campaign.settings import Campaign
from system.campaign.standing import Job
from system.campaign.standing import Standing
from system.campaign.trial import run_arguments
from system.campaign.trial import trial_recipe
from system.engine.checkpoints import CheckpointStore
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import ExitCode
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation
from system.launch.preflight import places
from system.observe.summary import newest_measurements
from system.telemetry.ledger import read_ledger
from system.telemetry.metrics import UNCERTAINTY

OF_EVALUATIONS = "evaluation/"
AS_MANY_AS_ASKED = 1_000_000  # a campaign's own limits are lower
Measured = tuple[float, float | None, str | None]  # value, its error, digest of the protocol


def observe(standing: Standing, cluster: Cluster, recipe: Recipe, now: float) -> Observed:
    """The cluster and every job that is not known to have ended, at a time.

    Raises ClusterError where the cluster does not answer: then nothing was seen.
    """
    ended = [_ended(standing, job, cluster.look(job.name)) for job in standing.open_jobs]
    return Observed(
        time=max(now, standing.now),
        capacity=capacity(recipe, cluster.resources()),
        ended=tuple(each for each in ended if each is not None),
    )


def capacity(recipe: Recipe, resources: Mapping[str, float]) -> int:
    """Jobs of a recipe that the whole cluster has room for at once.

    Where nodes come as they are asked for, those that are there say nothing of that.
    """
    if recipe.cluster.capacity == "on_demand":
        return AS_MANY_AS_ASKED
    needs = job_needs(recipe, uses_gpus=_uses_gpus(recipe, resources))
    rooms = [resources.get(name, 0.0) // amount for name, amount in needs.items() if amount]
    return int(min(rooms, default=0))


def gpus_per_job(recipe: Recipe, resources: Mapping[str, float]) -> float:
    """GPUs that a job holds; on a cluster without any its workers, so that hours can be counted."""
    if not _uses_gpus(recipe, resources):
        return float(recipe.cluster.workers)
    return job_needs(recipe, uses_gpus=True)["GPU"]


def job_needs(recipe: Recipe, *, uses_gpus: bool) -> dict[str, float]:
    """CPUs and GPUs of a run's workers and of its evaluations beside them."""
    cluster = recipe.cluster
    parts = 0 if isinstance(recipe.evaluation, NoEvaluation) else cluster.evaluation_parts
    return {
        "CPU": cluster.workers * cluster.cpus_per_worker + parts * cluster.evaluation_cpus,
        "GPU": cluster.workers + parts * cluster.evaluation_gpus if uses_gpus else 0.0,
    }


def job_arguments(standing: Standing, job: Job) -> list[str]:
    """The command line of a job, with every path absolute. Raises BadInput for a trial that cannot
    be."""
    campaign, run = standing.campaign, standing.runs[job.run]
    overrides = standing.trials[run.trial].overrides
    given = run_arguments(campaign, overrides, run.name, images=job.images, seed=run.seed)
    recipe = trial_recipe(campaign, given)
    return [*given, *(f"{key}={storage.absolute(at)}" for key, at in places(recipe).items())]


def run_url(campaign: Campaign, run: str) -> str:
    """The folder of a run, absolute where it is local."""
    return storage.absolute(storage.join(campaign.root, run))


def measured(url: str, metric: str, images: int) -> Measured | None:
    """A run's number at the end of a rung, from its own ledger and records; None without any."""
    found = _evaluated(url, metric) if metric.startswith(OF_EVALUATIONS) else _reported(url, metric)
    if found is None or found[0] < images or not math.isfinite(found[1][0]):
        return None
    return found[1]


def _evaluated(url: str, metric: str) -> tuple[int, Measured] | None:
    one = newest_measurements(url).get(metric)
    if one is None:
        return None
    value = (one["value"], one.get("standard_error"), one.get("protocol_digest"))
    return one["images_seen"], value


def _reported(url: str, metric: str) -> tuple[int, Measured] | None:
    reports = [event for event in read_ledger(url) if event["kind"] == "report"]
    reports = [event for event in reports if metric in event["values"]]
    if not reports:
        return None
    last = max(reports, key=lambda event: int(event["images_seen"]))
    values = last["values"]
    return last["images_seen"], (values[metric], values.get(metric + UNCERTAINTY), None)


def _ended(standing: Standing, job: Job, seen: Seen | None) -> Ended | None:
    run = standing.runs[job.run]
    if seen is None:
        return _never_ran(standing, job)
    if not seen.ended:
        return None
    url = run_url(standing.campaign, run.name)
    latest = CheckpointStore(storage.join(url, "checkpoints")).latest(verify=False)
    value, error, protocol = measured(url, standing.campaign.objective.metric, job.images) or (
        None,
        None,
        None,
    )
    return Ended(
        job=job.name,
        exit_code=seen.exit_code,
        seconds=seen.seconds,
        images_seen=latest.images_seen if latest else 0,
        value=value,
        error=error,
        protocol=protocol,
        message=seen.message,
    )


def _never_ran(standing: Standing, job: Job) -> Ended | None:
    """The end of a job that no cluster knows, and that none shall see; None where it is to run."""
    seen_before = standing.runs[job.run].images_seen
    if job.paused is not None:
        return Ended(
            job=job.name, exit_code=ExitCode.PREEMPTED, seconds=0.0, images_seen=seen_before,
            value=None,
        )  # fmt: skip
    try:
        job_arguments(standing, job)
    except BadInput as error:
        return Ended(
            job=job.name, exit_code=ExitCode.BAD_INPUT, seconds=0.0, images_seen=seen_before,
            value=None, message=str(error),
        )  # fmt: skip
    return None


def _uses_gpus(recipe: Recipe, resources: Mapping[str, float]) -> bool:
    return recipe.cluster.device != "cpu" and resources.get("GPU", 0.0) > 0
