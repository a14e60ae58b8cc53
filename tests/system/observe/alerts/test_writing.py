"""The committed rules are those of the code, and promtool agrees with what they claim."""

import shutil
import subprocess
from pathlib import Path

import pytest

from system.observe.alerts.writing import RULES
from system.observe.alerts.writing import TESTS
from system.observe.alerts.writing import Writing
from system.observe.alerts.writing import rules_text
from system.observe.alerts.writing import tests_text as promtool_tests
from system.observe.alerts.writing import write_rules

COMMITTED = Path(__file__).parents[4] / "ops" / "prometheus"
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@pytest.mark.parametrize(("name", "text"), [(RULES, rules_text), (TESTS, promtool_tests)])
def test_what_is_committed_is_what_the_code_writes(name, text):
    assert (COMMITTED / name).read_text("utf-8") == text(), "run python jobs/prometheus_rules.py"


def test_it_writes_both(tmp_path):
    paths = write_rules(Writing(out=str(tmp_path / "new")))
    assert [path.name for path in paths] == [RULES, TESTS]
    assert all(path.exists() for path in paths)


@promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", RULES), ("test", "rules", TESTS), ("check", "config", "prometheus.yaml")],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(arguments):
    done = subprocess.run(
        ["promtool", *arguments], cwd=COMMITTED, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_promtool_would_find_a_rule_that_never_fires(tmp_path):
    never = rules_text().replace("> 900", "> 90000000")
    (tmp_path / RULES).write_text(never)
    (tmp_path / TESTS).write_text(promtool_tests())
    done = subprocess.run(
        ["promtool", "test", "rules", TESTS],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "NoCommittedStep" in done.stdout + done.stderr
