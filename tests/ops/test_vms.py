"""The description for Ray's cluster launcher, as the launcher itself reads it."""

import copy

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler._private.util import validate_config

from tests.ops.manifests import Manifest
from tests.recipes import ROOT

TEXT = (ROOT / "ops" / "vms" / "cluster.yaml").read_text("utf-8")


@pytest.fixture
def described() -> Manifest:
    found: Manifest = yaml.safe_load(TEXT)
    return found


def test_the_launcher_takes_it(described: Manifest) -> None:
    machines = 1 + len(described["provider"]["worker_ips"])
    assert described["min_workers"] == described["max_workers"] == machines - 1
    validate_config(prepare_config(described))


def test_a_misspelt_field_is_caught(described: Manifest) -> None:
    misspelt = copy.deepcopy(described) | {"head_start_ray_comands": []}
    with pytest.raises(jsonschema.ValidationError, match="head_start_ray_comands"):
        validate_config(prepare_config(misspelt))


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_ray_wants_a_token_and_shows_no_dashboard_to_others(described: Manifest, kind: str) -> None:
    stops, starts = described[f"{kind}_start_ray_commands"]
    assert stops.endswith("ray stop")
    assert " RAY_AUTH_MODE=token " in starts
    assert ("--dashboard-host=127.0.0.1" in starts) == (kind == "head")
    assert described["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_what_is_installed_is_pinned(described: Manifest) -> None:
    for command in described["setup_commands"]:
        assert "pip install" not in command or "--constraint" in command
    assert ".venv/.installed" in " ".join(described["setup_commands"])
    assert "RUNTIME := $(VENV)/.installed\n" in (ROOT / "Makefile").read_text("utf-8")
