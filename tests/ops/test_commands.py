"""What the manifests have the cluster run: programs that are there, with settings they take."""

import re
import runpy
import shlex
from pathlib import Path
from string import Template

import pytest

from system.foundation import storage
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.launch.preflight import places
from tests.ops.manifests import CAMPAIGNS
from tests.ops.manifests import JOBS
from tests.ops.manifests import ROOT
from tests.ops.manifests import Manifest
from tests.ops.manifests import groups
from tests.ops.manifests import named
from tests.ops.manifests import overlaid
from tests.ops.manifests import pods
from tests.ops.manifests import settings
from tests.recipes import PUBLISHED

PROFILE = "configs/clusters/kubernetes.yaml"
TRIALS = "configs/clusters/kubernetes_campaign.yaml"


def name(path: Path) -> str:
    return path.name


@pytest.fixture
def in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that the pods have, in the image's working directory."""
    for key, value in settings().items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(ROOT)


def commands() -> dict[str, list[str]]:
    """Every command of this tree in a manifest, by who runs it."""
    found = {}
    for kind, which in (("Deployment", "exporter"), ("Deployment", "status-page")):
        found[which] = command(named(kind, which))
    for folder in CAMPAIGNS:
        found[folder.name] = command(overlaid(folder))
    for folder in JOBS:
        found[f"job {folder.name}"] = shlex.split(overlaid(folder)["spec"]["entrypoint"])
    cron = named("RayCronJob", "posterior-spread")["spec"]["jobTemplate"]
    found["ray_cron_job"] = shlex.split(Template(cron["entrypoint"]).substitute(settings()))
    return found


def command(manifest: Manifest) -> list[str]:
    (pod,) = pods(manifest)
    (container,) = pod["containers"]
    known = settings()
    return [
        re.sub(r"\$\((\w+)\)", lambda match: known[match.group(1)], each)
        for each in [*container["command"], *container.get("args", [])]
    ]


@pytest.mark.parametrize("who", commands())
def test_a_command_is_a_program_that_takes_its_settings(
    who: str, in_a_pod: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    python, program, *arguments = commands()[who]
    assert python == "python"
    assert (ROOT / program).exists()
    for each in re.findall(r"configs/[\w/]+\.yaml", " ".join(arguments)):
        assert (ROOT / each).exists(), each
    monkeypatch.setattr("sys.argv", [program, *arguments, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(program, run_name="__main__")
    shown = capsys.readouterr()
    assert left.value.code in (0, None), shown.err


def test_every_published_recipe_has_its_job() -> None:
    assert [each.name for each in JOBS] == sorted(path.stem for path in PUBLISHED)
    for folder in JOBS:
        made = overlaid(folder)
        assert made["metadata"]["name"] == folder.name.replace("_", "-")
        assert made["spec"]["entrypoint"] == f"python jobs/{folder.name}.py {PROFILE}"


@pytest.mark.parametrize("path", PUBLISHED, ids=name)
def test_a_recipe_finds_nodes_by_its_labels(path: Path, in_a_pod: None) -> None:
    for overlays, pool in (([PROFILE], "training"), ([PROFILE, TRIALS], "campaign")):
        recipe = resolve(path, overlays).recipe
        cluster = recipe.cluster
        ours = fitting(cluster.training_labels)
        assert {each["labels"]["latent-flows/pool"] for each in ours} == {pool}
        # They fit: on one node as many as it has GPUs, and all on as many nodes as there may be.
        for group in ours:
            has = limits(group)
            assert has["nvidia.com/gpu"] * cluster.cpus_per_worker <= has["cpu"]
        most = sum(group["maxReplicas"] * limits(group)["nvidia.com/gpu"] for group in ours)
        assert cluster.workers <= most
        judging = fitting(cluster.evaluation_labels)
        assert judging
        for group in judging:
            assert limits(group)["nvidia.com/gpu"] >= cluster.evaluation_gpus > 0
            assert limits(group)["cpu"] >= cluster.evaluation_cpus


@pytest.mark.parametrize("path", PUBLISHED, ids=name)
def test_every_place_of_a_recipe_is_in_storage(path: Path, in_a_pod: None) -> None:
    recipe: Recipe = resolve(path, [PROFILE]).recipe
    local = {key: place for key, place in places(recipe).items() if storage.is_local(place)}
    assert local == {}
    folder = recipe.data.cache.folder
    assert folder is not None
    for group in groups():
        (container,) = group["template"]["spec"]["containers"]
        assert any(folder.startswith(each["mountPath"]) for each in container["volumeMounts"])


def fitting(labels: dict[str, str]) -> list[Manifest]:
    assert labels
    return [each for each in groups() if labels.items() <= each["labels"].items()]


def limits(group: Manifest) -> dict[str, float]:
    (container,) = group["template"]["spec"]["containers"]
    found = container["resources"]["limits"]
    return {key: float(found.get(key, 0)) for key in ("cpu", "nvidia.com/gpu")}
