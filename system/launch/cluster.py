"""The Ray that a driver works with: the one it was given, or a private one of its own."""

import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

import psutil
import ray
import torch

from system.foundation.errors import ClusterError
from system.foundation.recipe import Recipe
from system.launch.command import ROOT
from system.launch.local_ray import local_ray
from system.launch.preflight import Resources

ADDRESS_VARIABLE = "RAY_ADDRESS"
CHILD_PATIENCE_S = 30
ANSWER_TIMEOUT_S = 10


def is_given() -> bool:
    """Whether there is a cluster to join; Ray says so to every job it runs."""
    return bool(os.environ.get(ADDRESS_VARIABLE))


@contextmanager
def joined() -> Iterator[Resources]:
    """Connect to the cluster at RAY_ADDRESS. Raises ClusterError where it does not answer."""
    address = os.environ[ADDRESS_VARIABLE]
    logging.getLogger("ray").setLevel(logging.WARNING)
    _check_answers(address)
    try:
        with _same_termination():
            ray.init(log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _nobody(address, error) from error
    try:
        total = ray.cluster_resources()
        yield Resources(total.get("CPU", 0.0), total.get("GPU", 0.0))
    finally:
        ray.shutdown()


@contextmanager
def _same_termination() -> Iterator[None]:
    """SIGTERM does afterwards what it did before: Ray would have it dump a stack and exit with the
    signal's number, which says nothing of what to do next."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes. Raises ClusterError where nobody listens."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not port.isdigit():
        return  # `auto`, or another name that Ray knows how to find
    try:
        socket.create_connection((host, int(port)), ANSWER_TIMEOUT_S).close()
    except OSError as error:
        raise _nobody(address, error) from error


def _nobody(address: str, error: Exception) -> ClusterError:
    return ClusterError(
        f"no Ray cluster answers at {ADDRESS_VARIABLE}={address}: {error}. Start one there, "
        "correct the address, or unset it to use a private Ray on this machine."
    )


def run_again_inside(offered: Resources) -> int:
    """Start a private Ray, and this same program once more as its client; the exit code of that.

    Ray reads what concerns addresses and tokens when it is imported, so the process that starts a
    private Ray cannot join it.
    """
    with local_ray(cpus=offered.cpus, gpus=offered.gpus) as private:
        known = os.environ.get("PYTHONPATH", "")
        environment = os.environ | private.environment
        environment[ADDRESS_VARIABLE] = private.address
        # Workers import the tree that this runs from, installed or not.
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [known])])
        child = subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=environment)
        try:
            return child.wait()
        finally:
            _end(child)


def program_started() -> float:
    """When this program began, in seconds since 1970: inside a private Ray that is when the program
    began that started both.
    """
    own = psutil.Process()
    with suppress(psutil.Error):  # it may end meanwhile
        parent = own.parent()
        if parent is not None and parent.cmdline()[1:] == own.cmdline()[1:]:
            return parent.create_time()
    return own.create_time()


def machine() -> Resources:
    """What this machine has, as far as this process may use it."""
    return Resources(float(len(psutil.Process().cpu_affinity())), float(torch.cuda.device_count()))


def private_resources(recipe: Recipe, there: Resources) -> Resources:
    """What a private Ray offers: all there is, and more CPUs for the evaluation if need be.

    On a small machine the evaluation shares processors with the workers. Each of the two must fit
    by itself: where one does not, the count stays as it is and the pre-flight check says so.
    """
    training = recipe.cluster.workers * recipe.cluster.cpus_per_worker
    evaluation = recipe.cluster.evaluation_parts * recipe.cluster.evaluation_cpus
    if recipe.evaluation.kind == "none" or max(training, evaluation) > there.cpus:
        return there
    wanted = float(math.ceil(training + evaluation))
    return Resources(max(there.cpus, wanted), there.gpus)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """A Ctrl-C has reached the child already, a SIGTERM has not."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(CHILD_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
