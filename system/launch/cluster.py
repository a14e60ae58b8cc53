"""The Ray that a driver works with: the one it was given, or a private one of its own."""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import ray
import torch

from system.foundation.errors import ClusterError
from system.foundation.recipe import Recipe
from system.launch.command import ROOT
from system.launch.local_ray import LOOPBACK
from system.launch.local_ray import local_ray
from system.launch.preflight import Resources


@contextmanager
def cluster(recipe: Recipe) -> Iterator[Resources]:
    """Connect to the cluster at RAY_ADDRESS (Ray sets it for a submitted job), or start one here.

    Raises ClusterError where a private cluster does not start or the given one does not answer.
    """
    logging.getLogger("ray").setLevel(logging.WARNING)
    address = os.environ.get("RAY_ADDRESS")
    if address:
        with _joined(address):
            yield _resources()
        return
    here = machine()
    with (
        local_ray(cpus=private_cpus(recipe, here.cpus), gpus=here.gpus) as private,
        _environment(private.environment),
        _joined(private.address, _node_ip_address=LOOPBACK, runtime_env=_tree()),
    ):
        yield _resources()


def machine() -> Resources:
    """What this machine has, as far as this process may use it."""
    return Resources(len(psutil.Process().cpu_affinity()), torch.cuda.device_count())


def private_cpus(recipe: Recipe, there: float) -> float:
    """CPUs that a private Ray offers: all there are, and one more for the evaluation if need be.

    On a small machine the evaluation shares processors with the workers. The workers themselves
    must fit: where they do not, the count stays as it is and the pre-flight check says so.
    """
    training = recipe.cluster.workers * recipe.cluster.cpus_per_worker
    if recipe.evaluation.kind == "none" or training > there:
        return there
    return max(there, math.ceil(training + recipe.cluster.evaluation_cpus))


def _tree() -> dict[str, dict[str, str]]:
    """Workers import the tree that the driver runs from, installed or not."""
    known = os.environ.get("PYTHONPATH", "")
    return {"env_vars": {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [known])])}}


def _resources() -> Resources:
    total = ray.cluster_resources()
    return Resources(total.get("CPU", 0), total.get("GPU", 0))


@contextmanager
def _joined(address: str, **options: object) -> Iterator[None]:
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.WARNING, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {address}: {error}. Start one there, correct RAY_ADDRESS, "
            "or unset it to use a private Ray on this machine."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
