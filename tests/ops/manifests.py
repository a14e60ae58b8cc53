"""The manifests of `ops/kubernetes` as data: as they are written, and as kustomize renders them."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "ops" / "kubernetes"
KUSTOMIZATION = "kustomization.yaml"
# What one applies, in the order of the runbook; all else is part of these.
ROOMS = [KUBERNETES, KUBERNETES / "pod_monitor", KUBERNETES / "campaigns" / "ray_cron_job"]
JOBS = sorted(
    each.parent for each in KUBERNETES.glob(f"jobs/*/{KUSTOMIZATION}") if each.parent.name != "base"
)
CAMPAIGNS = sorted(
    each.parent
    for each in KUBERNETES.glob(f"campaigns/*/{KUSTOMIZATION}")
    if each.parent.name not in ("base", "ray_cron_job")
)

Manifest = dict[str, Any]


def load(text: str) -> list[Manifest]:
    """The documents of a YAML text."""
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each is not None]


@cache
def written() -> tuple[tuple[str, Manifest], ...]:
    """Every object that stands in a file, with the file's name."""
    files = [path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name != KUSTOMIZATION]
    return tuple(
        (f"{path.relative_to(KUBERNETES)}:{each['kind']}/{each['metadata']['name']}", each)
        for path in files
        for each in load(path.read_text("utf-8"))
    )


def overlaid(folder: Path) -> Manifest:
    """The one object of an overlay, with its replacements made."""
    kustomization = load((folder / KUSTOMIZATION).read_text("utf-8"))[0]
    base = (folder / kustomization["resources"][0]).resolve()
    name = load((base / KUSTOMIZATION).read_text("utf-8"))[0]["resources"][0]
    (made,) = load((base / name).read_text("utf-8"))
    for patch in kustomization["patches"]:
        for step in load(patch["patch"])[0]:
            assert step["op"] == "replace"
            *above, key = step["path"].strip("/").split("/")
            part: Any = made
            for each in above:
                part = part[int(each) if isinstance(part, list) else each]
            assert key in part, step["path"]
            part[key] = step["value"]
    return made


@cache
def rendered(folder: Path) -> tuple[Manifest, ...]:
    """What `kubectl apply -k` would send. Skips where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which renders them, is not installed; the files are checked")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(load(done.stdout))


def named(kind: str, name: str) -> Manifest:
    """An object that stands in a file."""
    (found,) = (
        each for _, each in written() if each["kind"] == kind and each["metadata"]["name"] == name
    )
    return found


def pods(manifest: Any) -> Iterator[Manifest]:
    """Every pod's spec in a manifest."""
    if isinstance(manifest, dict):
        if isinstance(manifest.get("containers"), list):
            yield manifest
        for each in manifest.values():
            yield from pods(each)
    elif isinstance(manifest, list):
        for each in manifest:
            yield from pods(each)


def settings() -> dict[str, str]:
    """The environment that every pod has."""
    return dict(named("ConfigMap", "latent-flows-settings")["data"])


def groups() -> list[Manifest]:
    """The groups of nodes of the Ray cluster."""
    return list(named("RayCluster", "latent-flows")["spec"]["workerGroupSpecs"])
