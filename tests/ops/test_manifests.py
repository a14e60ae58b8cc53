"""What no schema says of the manifests: who may do what, where things run, and how they end."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from system.campaign.cluster import DRIVER
from tests.ops.manifests import CAMPAIGNS
from tests.ops.manifests import JOBS
from tests.ops.manifests import KUBERNETES
from tests.ops.manifests import ROOMS
from tests.ops.manifests import ROOT
from tests.ops.manifests import Manifest
from tests.ops.manifests import groups
from tests.ops.manifests import load
from tests.ops.manifests import named
from tests.ops.manifests import pods
from tests.ops.manifests import rendered
from tests.ops.manifests import written

CLUSTER = named("RayCluster", "latent-flows")["spec"]
HEAD_SERVICE = "latent-flows-head-svc"  # KubeRay's name of it
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
MARGIN_S = 30  # from the end of a drain to a killed pod: what Ray takes to end its processes


def all_pods() -> list[tuple[str, Manifest]]:
    return [
        (f"{where}/{pod['containers'][0]['name']}", pod)
        for where, manifest in written()
        for pod in pods(manifest)
    ]


def containers() -> Iterator[tuple[str, Manifest, Manifest]]:
    for where, pod in all_pods():
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            yield where, pod, container


PODS = pytest.mark.parametrize("pod", [p for _, p in all_pods()], ids=[w for w, _ in all_pods()])
CONTAINERS = pytest.mark.parametrize(
    ("pod", "container"), [(p, c) for _, p, c in containers()], ids=[w for w, _, _ in containers()]
)


def scalars(part: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield key, value
            yield from scalars(value)
    elif isinstance(part, list):
        for each in part:
            yield from scalars(each)


@PODS
def test_pods_are_not_root_and_touch_no_host(pod: Manifest) -> None:
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    keys = {key for key, _ in scalars(pod)}
    assert keys.isdisjoint({"hostPath", "hostNetwork", "hostPID", "hostIPC", "hostPort"})


@PODS
def test_only_the_head_talks_to_kubernetes(pod: Manifest) -> None:
    if pod.get("serviceAccountName") != "latent-flows-head":
        assert pod["automountServiceAccountToken"] is False


@CONTAINERS
def test_containers_have_no_privileges(pod: Manifest, container: Manifest) -> None:
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert not security.get("privileged")


@CONTAINERS
def test_containers_ask_for_what_they_get_and_no_more(pod: Manifest, container: Manifest) -> None:
    resources = container["resources"]
    for kind in ("requests", "limits"):
        assert {"cpu", "memory"} <= resources[kind].keys()
    assert CLUSTER["autoscalerOptions"]["resources"]["limits"]


@CONTAINERS
def test_images_are_pinned(pod: Manifest, container: Manifest) -> None:
    image = container["image"]
    if image == "latent-flows":  # ops/kubernetes/image says which
        return
    assert re.fullmatch(r"[a-z0-9./-]+:\d[\w.-]*", image)


@pytest.mark.parametrize("folder", [*ROOMS, *JOBS, *CAMPAIGNS], ids=lambda p: p.name)
def test_one_place_says_which_image_everything_runs(folder: Path) -> None:
    (said,) = load((KUBERNETES / "image" / "kustomization.yaml").read_text("utf-8"))
    (image,) = said["images"]
    assert re.fullmatch(r"\d[\w.-]*", image["newTag"])
    found = {
        container["image"]
        for manifest in rendered(folder)
        for pod in pods(manifest)
        for container in pod["containers"]
        if not container["image"].startswith("redis:")
    }
    assert found <= {f"{image['newName']}:{image['newTag']}"}


@pytest.mark.parametrize("path", sorted(p for p in (ROOT / "ops").rglob("*") if p.is_file()))
def test_nothing_is_latest_or_of_the_host_and_no_secret_is_here(path: Path) -> None:
    if path.suffix not in (".yaml", ".sbatch") and path.name != "Dockerfile":
        return
    text = path.read_text("utf-8")
    assert ":latest" not in text
    assert "hostPath" not in text
    assert "kind: Secret\n" not in text
    assert not re.search(r"AKIA[0-9A-Z]{16}|[0-9a-f]{40}|-----BEGIN", text)


def test_the_cluster_wants_a_token_out_of_a_secret() -> None:
    assert CLUSTER["authOptions"] == {"mode": "token", "secretName": "ray-token"}
    password = CLUSTER["gcsFaultToleranceOptions"]["redisPassword"]
    assert password.keys() == {"valueFrom"}
    # Nobody turns it off again further down.
    for _, manifest in written():
        for key, value in scalars(manifest):
            if key == "name" and value == "RAY_AUTH_MODE":
                assert "'name': 'RAY_AUTH_MODE', 'value': 'token'" in str(manifest)
            assert (key, value) != ("value", "disabled")


def test_who_calls_the_job_api_shows_the_token() -> None:
    for _, manifest in written():
        for pod in pods(manifest):
            for container in pod["containers"]:
                environment = {each["name"]: each for each in container.get("env", [])}
                if HEAD_SERVICE not in str(environment):
                    continue
                assert environment["RAY_AUTH_MODE"]["value"] == "token"
                secret = environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
                assert secret == {"name": "ray-token", "key": "auth_token"}


def test_no_variable_of_a_secret_name_has_a_value_here() -> None:
    for where, manifest in written():
        for key, value in scalars(manifest):
            if isinstance(value, list) and key == "env":
                for each in value:
                    if re.search("TOKEN|PASSWORD|SECRET|AUTH$|KEY", each["name"]):
                        assert "value" not in each, (where, each["name"])
            if key == "data" and isinstance(value, dict):
                assert not [k for k in value if re.search("TOKEN|PASSWORD|SECRET|KEY", k)]


def ray_pods() -> list[tuple[str, Manifest]]:
    head = CLUSTER["headGroupSpec"]["template"]["spec"]
    return [("head", head), *((g["groupName"], g["template"]["spec"]) for g in groups())]


RAY_PODS = pytest.mark.parametrize(
    "pod", [p for _, p in ray_pods()], ids=[name for name, _ in ray_pods()]
)


@RAY_PODS
def test_a_pod_outlives_the_drain_of_its_node(pod: Manifest) -> None:
    environment = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert 30 < int(environment[DRAIN]) <= pod["terminationGracePeriodSeconds"] - MARGIN_S


@RAY_PODS
def test_pods_of_the_autoscaler_are_not_restarted_in_place(pod: Manifest) -> None:
    assert pod.get("restartPolicy", "Never") == "Never"  # KubeRay refuses all else with v2


def test_the_autoscaler_is_the_one_that_knows_labels() -> None:
    assert CLUSTER["enableInTreeAutoscaling"] is True
    assert CLUSTER["autoscalerOptions"]["version"] == "v2"
    assert CLUSTER["autoscalerOptions"]["idleTimeoutSeconds"] >= 600
    for group in [CLUSTER["headGroupSpec"], *groups()]:
        assert "labels" not in group["rayStartParams"]


def test_the_version_is_the_installed_one() -> None:
    pinned = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert f"ray=={CLUSTER['rayVersion']}" in pinned


def test_head_and_drivers_stay_and_take_no_work() -> None:
    by_name = {group["groupName"]: group for group in groups()}
    for group in (CLUSTER["headGroupSpec"], by_name["drivers"]):
        assert group["labels"]["ray.io/market-type"] == "on-demand"
        assert group["resources"]["CPU"] == "0"
        pod = group["template"]["spec"]
        assert pod["nodeSelector"] == {"ray.io/market-type": "on-demand"}
        assert "tolerations" not in pod
    assert by_name["drivers"]["minReplicas"] >= 1


def test_gpus_are_there_on_spot_and_on_demand() -> None:
    training = [g for g in groups() if g["labels"]["latent-flows/pool"] == "training"]
    markets = {group["labels"]["ray.io/market-type"] for group in training}
    assert markets == {"spot", "on-demand"}
    for group in groups():
        pod, market = group["template"]["spec"], group["labels"]["ray.io/market-type"]
        assert pod["nodeSelector"]["ray.io/market-type"] == market
        tolerated = {each["key"] for each in pod.get("tolerations", [])}
        has_gpus = "nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]
        assert ("nvidia.com/gpu" in tolerated) == has_gpus
        assert ("ray.io/market-type" in tolerated) == (market == "spot")


def test_what_is_asked_of_a_node_is_a_resource_of_the_drivers() -> None:
    offered = {name for group in groups() for name in group.get("resources", {})}
    for kind, name in (("RayJob", "run"), ("RayCronJob", "posterior-spread")):
        spec = named(kind, name)["spec"]
        asked = json.loads(spec.get("jobTemplate", spec)["entrypointResources"])
        assert asked.keys() == {DRIVER}
    assert DRIVER in offered


def test_deployments_and_redis_are_probed() -> None:
    for _, manifest in written():
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def test_services_reach_the_pods_that_they_name() -> None:
    for _, service in written():
        if service["kind"] != "Service":
            continue
        kind = "StatefulSet" if service["metadata"]["name"] == "redis" else "Deployment"
        template = named(kind, service["metadata"]["name"])["spec"]["template"]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        open_ports = {p["name"] for c in template["spec"]["containers"] for p in c["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports


def policy(name: str) -> Manifest:
    spec: Manifest = named("NetworkPolicy", name)["spec"]
    return spec


def test_nothing_comes_in_but_what_is_named() -> None:
    assert policy("nobody") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for _, manifest in written():
        if manifest["kind"] == "NetworkPolicy":
            for rule in manifest["spec"].get("ingress", []):
                assert rule.get("from"), manifest["metadata"]["name"]


def test_who_submits_is_let_in() -> None:
    submitters = policy("submitters")["podSelector"]["matchLabels"]
    (rule,) = policy("jobs")["ingress"]
    assert {"matchLabels": submitters} in [each.get("podSelector") for each in rule["from"]]
    templates = [
        named("RayJob", "run")["spec"]["submitterPodTemplate"],
        named("CronJob", "campaign")["spec"]["jobTemplate"]["spec"]["template"],
    ]
    for template in templates:
        assert submitters.items() <= template["metadata"]["labels"].items()


def test_the_page_without_a_login_is_reached_by_nobody_in_the_cluster() -> None:
    labels = named("Deployment", "status-page")["spec"]["template"]["metadata"]["labels"]
    for _, manifest in written():
        if manifest["kind"] == "NetworkPolicy" and "ingress" in manifest["spec"]:
            selector = manifest["spec"]["podSelector"]
            matched = selector.get("matchLabels", {}).items() <= labels.items()
            values = [v for e in selector.get("matchExpressions", []) for v in e["values"]]
            assert not matched or (values and labels["app.kubernetes.io/name"] not in values)


def test_ticks_do_not_overlap_and_end() -> None:
    spec = named("CronJob", "campaign")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 600
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert spec["timeZone"]
    # KubeRay has no limit of how many it keeps.
    rules = named("RayCronJob", "posterior-spread")["spec"]["jobTemplate"]["deletionStrategy"]
    kept = {rule["condition"]["jobStatus"]: rule["policy"] for rule in rules["deletionRules"]}
    assert kept == {"SUCCEEDED": "DeleteSelf", "FAILED": "DeleteSelf"}
