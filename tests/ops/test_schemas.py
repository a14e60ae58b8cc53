"""Every manifest is one that Kubernetes and KubeRay take, and a misspelt one is not."""

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.ops.manifests import CAMPAIGNS
from tests.ops.manifests import JOBS
from tests.ops.manifests import KUBERNETES
from tests.ops.manifests import ROOMS
from tests.ops.manifests import Manifest
from tests.ops.manifests import named
from tests.ops.manifests import overlaid
from tests.ops.manifests import rendered
from tests.ops.manifests import written
from tests.ops.schemas import problems


def name(path: Path) -> str:
    return str(path.relative_to(KUBERNETES.parent))


@pytest.mark.parametrize("manifest", [each for _, each in written()], ids=[n for n, _ in written()])
def test_what_is_written_is_valid(manifest: Manifest) -> None:
    assert problems(manifest) == []


@pytest.mark.parametrize("folder", JOBS + CAMPAIGNS, ids=name)
def test_an_overlay_is_valid_and_is_what_kustomize_makes_of_it(folder: Path) -> None:
    made = overlaid(folder)
    assert problems(made) == []
    (shown,) = rendered(folder)
    made["metadata"]["namespace"] = "latent-flows"
    for pod in (made, shown):
        assert "image" in str(pod)
    assert without_images(shown) == without_images(made)


@pytest.mark.parametrize("folder", ROOMS, ids=name)
def test_what_is_applied_is_valid(folder: Path) -> None:
    for manifest in rendered(folder):
        assert problems(manifest) == []


def without_images(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: without_images(each) for key, each in part.items() if key != "image"}
    return [without_images(each) for each in part] if isinstance(part, list) else part


MISSPELT = {
    "a group of the cluster": ("RayCluster", "latent-flows", ["workerGroupSpecs", 0], "maxReplica"),
    "the mode of its tokens": ("RayCluster", "latent-flows", ["authOptions"], "secret"),
    "a pod of the cluster": (
        "RayCluster", "latent-flows", ["headGroupSpec", "template", "spec"], "terminationGrace",
    ),
    "a job": ("RayJob", "run", [], "entryPoint"),
    "a scheduled job": ("RayCronJob", "posterior-spread", ["jobTemplate"], "entryPoint"),
    "a CronJob": ("CronJob", "campaign", [], "concurencyPolicy"),
    "a container": (
        "Deployment", "exporter", ["template", "spec", "containers", 0], "livenesProbe",
    ),
    "a rule of the network": ("NetworkPolicy", "ray", ["ingress", 0], "form"),
    "what is scraped": ("PodMonitor", "exporter", ["podMetricsEndpoints", 0], "intervall"),
    "a label of it": ("PodMonitor", "ray", ["podMetricsEndpoints", 0, "relabelings", 0], "target"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSPELT)
def test_a_misspelt_field_is_caught(case: str) -> None:
    kind, which, place, field = MISSPELT[case]
    made = copy.deepcopy(named(kind, which))
    part: Any = made["spec"]
    for each in place:
        part = part[each]
    part[field] = "x"
    (problem,) = problems(made)
    assert field in problem


def test_a_value_of_the_wrong_kind_is_caught() -> None:
    made = copy.deepcopy(named("RayCluster", "latent-flows"))
    made["spec"]["authOptions"]["mode"] = "tokens"
    made["spec"]["workerGroupSpecs"][0]["maxReplicas"] = "many"
    assert len(problems(made)) == 2
