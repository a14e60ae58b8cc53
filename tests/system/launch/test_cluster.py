"""What a private Ray offers, and what is said where no Ray answers."""

import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest

from system.foundation.errors import ClusterError
from system.foundation.settings.evaluation import NoEvaluation
from system.launch.cluster import is_given
from system.launch.cluster import joined
from system.launch.cluster import machine
from system.launch.cluster import private_resources
from system.launch.cluster import program_started
from system.launch.preflight import Resources
from system.launch.preflight import check_cluster


@pytest.mark.parametrize(
    ("workers", "there", "evaluates", "offered"),
    [(2, 2.0, True, 3.0), (2, 8.0, True, 8.0), (2, 1.0, True, 1.0), (2, 2.0, False, 2.0)],
)
def test_the_evaluation_may_share_processors_but_the_workers_may_not(
    recipe, workers, there, evaluates, offered
):
    cluster = recipe.cluster.model_copy(update={"workers": workers})
    update = {"cluster": cluster} | ({} if evaluates else {"evaluation": NoEvaluation()})
    found = private_resources(recipe.model_copy(update=update), Resources(there, 1.0))
    assert found == Resources(offered, 1.0)


def test_an_evaluation_larger_than_the_machine_is_refused(recipe):
    cluster = recipe.cluster.model_copy(update={"evaluation_cpus": 1000})
    large = recipe.model_copy(update={"cluster": cluster})
    offered = private_resources(large, Resources(4.0, 0.0))
    assert offered == Resources(4.0, 0.0)
    with pytest.raises(ClusterError, match="has 4 CPUs; 2 workers need 2 and the evaluation 1000"):
        check_cluster(large, offered, uses_gpus=False)


def test_this_machine_has_processors():
    assert machine().cpus >= 1


ROOT = Path(__file__).parents[3]
TWICE = """
import subprocess, sys, time
from system.launch.cluster import program_started
if sys.stdin.read(1) == "a":
    time.sleep(3)
    again = subprocess.run([sys.executable, *sys.orig_argv[1:]], input=b"b", capture_output=True)
    print(again.stdout.decode().strip())
else:
    print(program_started())
"""


def test_a_program_began_when_its_user_started_it():
    # The kernel tells when it booted in whole seconds, and not always the same one.
    own = psutil.Process().create_time()
    assert program_started() == pytest.approx(own, abs=1.5)
    command = [sys.executable, "-c", TWICE]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, cwd=ROOT, text=True) as first:
        began = psutil.Process(first.pid).create_time()
        said, _ = first.communicate("a")
    assert float(said) == pytest.approx(began, abs=1.5)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_address_that_nobody_answers(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert is_given()
    with pytest.raises(ClusterError, match="no Ray cluster answers at"), joined():
        pass


def test_without_an_address_there_is_none(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not is_given()
