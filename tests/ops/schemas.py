"""What Kubernetes and KubeRay take, told strictly: a field that they do not know is an error.

The schemas of KubeRay are no part of this tree: `$SCHEMAS`, or `../shared/schemas` beside it.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
KUBERNETES_VERSION = "1.34"
RAY_KINDS = {"RayCluster": "rayclusters", "RayJob": "rayjobs", "RayCronJob": "raycronjobs"}
STRING = {"type": "string"}
STRINGS = {"type": "object", "additionalProperties": STRING}
# Of what the Prometheus operator takes, all that is used here: another field is either misspelt or
# to be looked up. Source: PodMonitorSpec and PodMetricsEndpoint of monitoring.coreos.com/v1.
POD_MONITOR = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PodMonitor"},
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": STRING, "namespace": STRING, "labels": STRINGS},
        },
        "spec": {
            "type": "object",
            "required": ["selector", "podMetricsEndpoints"],
            "properties": {
                "selector": {"type": "object", "properties": {"matchLabels": STRINGS}},
                "podMetricsEndpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {
                            "port": STRING,
                            "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
                            "relabelings": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "properties": {
                                        "sourceLabels": {"type": "array", "items": STRING},
                                        "targetLabel": STRING,
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def problems(manifest: dict[str, Any]) -> list[str]:
    """What is wrong with an object. Skips where the schema of its kind is not at hand."""
    kind = manifest["kind"]
    if kind == "PodMonitor" or kind in RAY_KINDS:
        known = validator(RAY_KINDS[kind]) if kind in RAY_KINDS else Draft202012Validator(MONITORS)
        found = known.iter_errors(manifest)
        return [f"{'.'.join(map(str, each.absolute_path))}: {each.message}" for each in found]
    try:
        kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


@cache
def validator(plural: str) -> Draft202012Validator:
    """What checks objects of KubeRay's."""
    folder = Path(os.environ.get("SCHEMAS", ROOT.parent / "shared" / "schemas"))
    path = folder / f"ray.io_{plural}.yaml"
    if not path.exists():
        pytest.skip(f"no {path.name} in {folder}: SCHEMAS names KubeRay's definitions")
    definition = yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader)
    (schema,) = (
        version["schema"]["openAPIV3Schema"]
        for version in definition["spec"]["versions"]
        if version["name"] == "v1"
    )
    return Draft202012Validator(closed(schema))


def closed(schema: Any) -> Any:
    """A schema of Kubernetes that forbids what it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    names_its_fields = isinstance(schema.get("properties"), dict) and "type" in schema
    if names_its_fields and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


MONITORS = closed(POD_MONITOR)
