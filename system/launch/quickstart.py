"""From nothing to a trained model on one machine, by the same road as on a cluster.

Digits are packed, a private Ray is started, the job is submitted to it as anyone would, its log is
followed, and Ray is ended again. What is drawn from the result is the caller's affair.
"""

import sys
from pathlib import Path

from pydantic import Field

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import MANIFEST_NAME
from system.foundation import storage
from system.foundation.config import Resolved
from system.foundation.config import resolve
from system.foundation.errors import TrainingSystemError
from system.foundation.recipe import Recipe
from system.launch.cluster import machine
from system.launch.cluster import private_resources
from system.launch.command import ROOT
from system.launch.driver import Plan
from system.launch.driver import check_cluster
from system.launch.driver import done_line
from system.launch.driver import prepare
from system.launch.local_ray import local_ray
from system.launch.locks import check_not_driven
from system.launch.preflight import Resources
from system.launch.preflight import answering_storage
from system.launch.preflight import with_absolute_paths
from system.launch.submission import placed
from system.launch.submission import submit

DIGITS_JOB = "jobs/simflow_digits.py"
DIGITS_PACK = Path("configs/pack_digits.yaml")


class Quickstart(Recipe):
    """A recipe, and where the private Ray shows itself."""

    port: int = Field(0, ge=0, le=65535, description="port of Ray's dashboard; 0: any free one")


class JobError(TrainingSystemError):
    """The job did not end well; it has said why in its log. Leaves with the job's exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def train_digits(resolved: Resolved[Quickstart]) -> str:
    """Train to the end, unless that was done before. Returns the run's folder.

    Raises JobError where the job fails, and BadInput before anything starts.
    """
    recipe = with_absolute_paths(resolved.recipe)
    pack_digits(recipe.data.shards)
    plan = prepare(recipe)
    if plan.is_done:
        print(done_line(plan))
        return plan.url
    check_not_driven(plan.url)
    offered = private_resources(recipe, machine())
    check_cluster(plan, offered)
    _submit(
        plan, placed(resolved.recipe, job_arguments(sys.argv[1:])), offered, resolved.recipe.port
    )
    return plan.url


@answering_storage()
def pack_digits(shards: str) -> None:
    """Pack the digits that scikit-learn carries, unless shards are there already."""
    if not storage.exists(storage.join(shards, MANIFEST_NAME)):
        recipe = resolve(ROOT / DIGITS_PACK, [f"out={shards}"], PackRecipe).recipe
        print(pack(recipe).summary(), flush=True)


def job_arguments(arguments: list[str]) -> list[str]:
    """The arguments without those that are of the quickstart alone."""
    return [each for each in arguments if not each.startswith("port=")]


def _submit(plan: Plan, arguments: list[str], offered: Resources, port: int) -> None:
    with local_ray(cpus=offered.cpus, gpus=offered.gpus, port=port) as ray_here:
        print(f"private Ray at {ray_here.dashboard}, loopback only, with a token", flush=True)
        ended = submit(DIGITS_JOB, arguments, address=ray_here.dashboard, token=ray_here.token)
    if ended.exit_code:
        raise JobError(
            f"the job ended with {ended.status.lower()} ({ended.message.strip()}). Its last words "
            f"stand above; the workers' logs lie in {storage.join(plan.url, 'logs')}. The same "
            "command goes on from the newest checkpoint.",
            ended.exit_code,
        )
