import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from system.foundation.config import resolve
from system.foundation.errors import RecipeError
from system.launch.assignment import Assignment
from system.launch.command import ROOT
from system.launch.plan.utilisation import Utilisation

# A driver of the digits checks them, and names what its workers do; it computes nothing.
DRIVER = """
import sys
from pathlib import Path
from system.foundation.config import resolve
from system.launch import driver, preflight
recipe = resolve(Path("configs/simflow_digits.yaml"), ["evaluation.kind=none"]).recipe
assert preflight.checkpoint_bytes(recipe) > 0
driver.trainer(driver.Plan(recipe, "/nowhere", 0))
print(*(name in sys.modules for name in ("deepspeed", "torch._dynamo", "sympy")))
"""


def assignment(tmp_path: Path) -> Assignment:
    recipe = resolve(ROOT / "configs/simflow_digits.yaml", []).recipe
    return Assignment(recipe, str(tmp_path), "cpu")


def test_an_assignment_crosses_to_another_process_as_plain_values(tmp_path: Path) -> None:
    given = assignment(tmp_path)
    counted = replace(given, utilisation=Utilisation(2e9, {"A": 1e12}))
    for each in (given, counted):
        assert Assignment.from_mapping(each.to_mapping()) == each


def test_what_crossed_is_checked_anew(tmp_path: Path) -> None:
    values = assignment(tmp_path).to_mapping()
    values["recipe"]["flow"]["width"] = -1
    with pytest.raises(RecipeError, match=r"flow\.width"):
        Assignment.from_mapping(values)


def test_a_driver_starts_without_deepspeed_and_torchs_compiler() -> None:
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.split() == ["False"] * 3, told.stderr
