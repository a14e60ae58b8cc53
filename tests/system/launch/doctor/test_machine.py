import resource

import pytest
import torch

from system.foundation.settings.data import Data
from system.foundation.settings.run import Cluster
from system.foundation.settings.run import Run
from system.foundation.versions import versions
from system.launch.doctor import machine


def test_the_libraries_are_there_with_their_versions() -> None:
    (found,) = machine.libraries()
    assert found.state == "ok"
    assert f"torch {versions()['torch']}" in found.said


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_an_absent_gpu_fails_only_where_one_is_asked_for(make_recipe) -> None:
    (found,) = machine.accelerator(make_recipe(cluster=Cluster(device="cuda")))
    assert found.state == "failure"
    assert "cluster.device=cpu" in found.cure
    (found,) = machine.accelerator(make_recipe())
    assert found.state == "ok"


def test_without_a_compiler_deepspeed_cannot_build(monkeypatch) -> None:
    assert next(machine.deepspeed_operators()).state == "ok"
    monkeypatch.setenv("CXX", "/no/such/compiler")
    found = next(machine.deepspeed_operators())
    assert found.state == "failure"
    assert "no compiler" in found.said


def test_space_that_checkpoints_do_not_fit_in_fails(make_recipe, tmp_path) -> None:
    run = make_recipe().run.model_dump() | {"root": str(tmp_path)}
    space, speed = machine.disk(make_recipe(run=Run(**run)))
    assert space.state == "ok"
    assert "MiB/s" in speed.said
    run["keep_checkpoints"] = 10**9
    space, _ = machine.disk(make_recipe(run=Run(**run)))
    assert space.state == "failure"
    assert "run.keep_checkpoints" in space.said


def test_few_open_files_are_told_with_the_command_that_cures() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        (found,) = machine.open_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found.state == "warning"
    assert found.cure.startswith("ulimit -n ")


def test_processors_are_compared_with_what_the_recipe_reserves(make_recipe, monkeypatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    data = Data(shards="-", image_size=8, image_channels=1, classes=4, workers=0)
    (found,) = machine.processors(make_recipe(data=data))
    assert found.state == "ok"
    many = Cluster(workers=8, cpus_per_worker=1000)
    (found,) = machine.processors(make_recipe(data=data, cluster=many))
    assert "8,000" in found.said or "8000" in found.said
    assert found.state == "warning"
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:6379")
    (found,) = machine.processors(make_recipe(data=data, cluster=many))
    assert found.state == "ok"
    decoding = data.model_copy(update={"workers": 6})
    (found,) = machine.processors(make_recipe(data=decoding))
    assert "cluster.cpus_per_worker=7" in found.cure


def test_shared_memory_is_looked_at() -> None:
    (found,) = machine.shared_memory()
    assert found.name == "shared memory"
