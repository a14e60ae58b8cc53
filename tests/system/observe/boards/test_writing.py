"""The committed boards are those of the code, are what Grafana takes, and ask for what there is."""

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from system.observe.alerts.rules import GROUPS
from system.observe.boards.writing import BOARDS
from system.observe.boards.writing import Writing
from system.observe.boards.writing import write_boards
from system.telemetry.metric import UNCERTAINTY
from system.telemetry.metrics import METRICS

ROOT = Path(__file__).parents[4]
COMMITTED = ROOT / "ops" / "grafana"
SCHEMAS = Path(os.environ.get("SCHEMAS", ROOT.parent / "shared" / "schemas"))
SCHEMA = SCHEMAS / "grafana-dashboard.schema.json"
SERIES = {metric.prometheus: metric for metric in METRICS.values()}
SELECTOR = re.compile(r"\b(?:ray_)?(latent_flows_\w+)(?:{([^}]*)})?")
REGISTRY = {"metric.py", "metrics.py", "exported_metrics.py"}


@pytest.mark.parametrize("name", BOARDS)
def test_what_is_committed_is_what_the_code_writes(name):
    found = (COMMITTED / name).read_text("utf-8")
    assert found == BOARDS[name].text(), "run python jobs/grafana_boards.py"


def test_no_other_board_lies_there(tmp_path):
    assert {path.name for path in COMMITTED.glob("*.json")} == set(BOARDS)
    assert [path.name for path in write_boards(Writing(out=str(tmp_path)))] == list(BOARDS)


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"{SCHEMA} is not there")
@pytest.mark.parametrize("name", BOARDS)
def test_grafanas_own_schema_finds_nothing_wrong(name):
    checker = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text("utf-8")))
    found = [error.message for error in checker.iter_errors(BOARDS[name].to_json())]
    assert not found


@pytest.mark.parametrize("name", BOARDS)
def test_panels_explain_themselves_and_are_told_apart(name):
    panels = [one for one in BOARDS[name].to_json()["panels"] if one["type"] != "row"]
    assert all(one["title"] and one["description"] and one["targets"] for one in panels)
    for one in panels:
        ids = [target["refId"] for target in one["targets"]]
        assert len(set(ids)) == len(ids) <= 26
    assert len({board.uid for board in BOARDS.values()}) == len(BOARDS)


def expressions() -> list[str]:
    asked = [query.expression for board in BOARDS.values() for query in board.queries]
    return asked + [alert.expression for alerts in GROUPS.values() for alert in alerts]


def test_what_is_asked_for_is_registered_under_the_labels_it_has():
    for expression in expressions():
        assert "job=" not in expression.replace('up{job="latent-flows"}', "")
        for name, matchers in re.findall(
            r"\b(?:ray_)?(latent_flows_\w+)(?:{([^}]*)})?", expression
        ):
            metric = SERIES.get(name) or SERIES[name.removesuffix(UNCERTAINTY)]
            assert set(re.findall(r"(\w+)=", matchers)) <= set(metric.labels), expression


def test_every_registered_metric_is_on_a_board_or_in_an_alert():
    asked = {name for expression in expressions() for name, _ in SELECTOR.findall(expression)}
    assert [metric.name for metric in METRICS.values() if metric.prometheus not in asked] == []


def written() -> Iterator[str]:
    """Patterns of the texts in the code that may be, or become, names of metrics."""
    for path in [*(ROOT / "system").rglob("*.py"), *(ROOT / "data_pipeline").rglob("*.py")]:
        if path.name in REGISTRY or "boards" in path.parts or "alerts" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.escape(node.value)
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
                    for part in node.values
                )


def test_every_registered_metric_is_written_somewhere():
    texts = set(written())
    literal = {re.sub(r"\\(.)", r"\1", text) for text in texts if ".+" not in text}
    words = {word for text in literal for word in re.split(r"[\W_]+", text)}
    # A name that is put together says its area and something of the rest ...
    shapes = [
        re.compile(text)
        for text in texts
        if re.match(r"\w+/", text) and re.search(r"/.*\w", text.replace(".+", ""))
    ]
    left = [
        metric
        for name, metric in METRICS.items()
        if name not in literal and not any(shape.fullmatch(name) for shape in shapes)
    ]
    # ... or is an evaluation's, whose names are put together of nothing but words of the code.
    unsaid = [
        metric.name
        for metric in left
        if metric.area != "evaluation" or not set(metric.name.split("/")[1].split("_")) <= words
    ]
    assert unsaid == []
