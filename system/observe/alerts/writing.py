"""The alerts as files for Prometheus and promtool: `ops/prometheus/rules*.yaml`, written by this
alone."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from system.foundation.settings.record import Record
from system.observe.alerts.rules import GROUPS

RULES, TESTS = "rules.yaml", "rules_test.yaml"
_HEAD = "# Written by jobs/prometheus_rules.py out of system/observe/alerts; a test compares.\n"


class Writing(Record):
    """Where the rules are written."""

    out: str = Field("ops/prometheus", description="folder for the rules and their tests")


def rules_text() -> str:
    """The rules as Prometheus reads them."""
    groups = [
        {"name": f"latent-flows-{name}", "rules": [alert.rule() for alert in alerts]}
        for name, alerts in GROUPS.items()
    ]
    return _text({"groups": groups})


def tests_text() -> str:
    """Their tests as promtool reads them."""
    tests = [test for alerts in GROUPS.values() for alert in alerts for test in alert.tests()]
    return _text({"rule_files": [RULES], "evaluation_interval": "1m", "tests": tests})


def write_rules(settings: Writing) -> list[Path]:
    """Write both files; the paths."""
    folder = Path(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RULES).write_text(rules_text(), "utf-8")
    (folder / TESTS).write_text(tests_text(), "utf-8")
    return [folder / RULES, folder / TESTS]


def _text(content: dict[str, Any]) -> str:
    return _HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
