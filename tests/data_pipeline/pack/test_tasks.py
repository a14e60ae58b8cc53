"""Packing over a real Ray; tests/faults/test_pack_and_kill.py kills its workers and its driver."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import read_manifest
from system.launch.local_ray import local_ray

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def untroubled(photo_recipe, tmp_path_factory):
    """The manifest of the same pack made in this process."""
    return pack(photo_recipe(tmp_path_factory.mktemp("alone"))).manifest


@pytest.fixture(scope="module")
def run():
    """Run a program as `ray job submit` would: with the address of a Ray."""
    with local_ray(cpus=2.0) as private:
        environment = os.environ | private.environment
        environment |= {"RAY_ADDRESS": private.address, "PYTHONPATH": str(ROOT)}

        def in_it(*arguments):
            done = subprocess.run(
                [sys.executable, *arguments], cwd=ROOT, env=environment, timeout=280,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield in_it


@pytest.fixture(scope="module")
def answers(run, photo_recipe, tmp_path_factory):
    """What the program found out about packing over Ray."""
    out = tmp_path_factory.mktemp("over_ray")
    good = photo_recipe(out / "good", workers=None)
    said = run("tests/data_pipeline/pack/packing_program.py", good.model_dump_json())
    return json.loads(said.splitlines()[-1])


def test_workers_make_the_same_shards(answers, untroubled):
    assert answers["good"] == {shard.name: shard.digest for shard in untroubled.shards}
    assert answers["cpus"] == 2 * 2  # two for each of the two CPUs


def test_an_error_of_a_task_is_the_error_of_the_pack(answers):
    assert answers["bad"] == "DataError: gone since the folder was listed"


def test_workers_that_die_again_and_again_end_in_one_error(answers):
    assert answers["dead"].startswith("ClusterError: x.tar: its workers died 4 times")


def test_workers_are_light(answers):
    assert answers["modules"] == []


def test_the_job_joins_the_ray_that_it_is_given(run, photo_recipe, untroubled, tmp_path):
    source = photo_recipe(tmp_path).source.url
    settings = [f"source.url={source}", "shard_samples=5", f"out={tmp_path / 'out'}"]
    assert "24 images packed" in run("jobs/pack_imagenet.py", *settings)
    assert read_manifest(str(tmp_path / "out")).digest == untroubled.digest
