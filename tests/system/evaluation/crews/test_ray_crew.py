"""Crews of a real Ray; tests/faults/test_sample_and_kill.py kills the program as well."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash

from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.features import features_of
from system.launch.local_ray import local_ray

ROOT = Path(__file__).parents[4]

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def asked(make_request):
    """A request with images and features, enough of them to be killed in between."""
    return make_request(count=1000, batch=100, keep_images=True)


@pytest.fixture(scope="module")
def answers(asked, tmp_path_factory):
    """What the program found out about crews of a Ray."""
    folder = tmp_path_factory.mktemp("crews")
    with local_ray(cpus=3.0) as private:
        environment = os.environ | private.environment
        environment |= {"RAY_ADDRESS": private.address, "PYTHONPATH": str(ROOT)}
        program = ROOT / "tests/system/evaluation/crews/crew_program.py"
        done = subprocess.run(
            [sys.executable, program, private.mark, asked.model_dump_json(), str(folder)],
            cwd=ROOT, env=environment, timeout=560, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def expected(asked, tmp_path_factory):
    """The digest of the same made in this process."""
    found = features_of(asked, str(tmp_path_factory.mktemp("alone")), AloneCrew())
    state = xxhash.xxh3_128()
    for kind in ("features", "spatial", "logits"):
        state.update(found.whole("digits-cnn", kind).numpy().tobytes())
    for part in found.images():
        state.update(part.numpy().tobytes())
    return state.hexdigest()


@pytest.mark.parametrize("crew", ["inside a task", "2 workers, batch 7", "3 workers, batch 64"])
def test_any_number_of_workers_gives_the_same_bits(answers, expected, crew):
    assert answers[crew] == expected


@pytest.mark.chaos
def test_workers_that_are_killed_are_replaced_and_change_no_bit(answers, expected):
    assert answers["killed"] == 2
    assert answers["killed twice"] == expected


def test_the_caller_takes_the_place_of_workers_that_cannot_be_placed(answers, expected):
    assert answers["inside a task that has all"] == expected


def test_a_unit_whose_workers_die_again_and_again_is_one_error(answers):
    assert answers["dead"].startswith("ClusterError: images 0 to 127: lost with their worker (")


def test_a_worker_that_does_not_answer_is_given_up(answers):
    assert answers["silent"].startswith("ClusterError: images 0 to 127: lost with their worker (no")


def test_what_a_unit_raises_is_raised(answers):
    assert answers["unit"].startswith("NumericsError: found 128 of 128 images")
    assert answers["checkpoint"].startswith("CheckpointError: no checkpoint at /nowhere/1-1")


def test_workers_without_a_gpu_are_not_asked_for_what_needs_one(answers):
    assert answers["no GPU"].startswith("ClusterError: workers shall compute with device=cuda")


def test_no_worker_is_left(answers):
    assert answers["left"] == 0
