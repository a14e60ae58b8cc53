from pathlib import Path

import pytest
from pydantic import BaseModel

from system.foundation.overlay import complete
from system.foundation.overlay import is_bare
from system.foundation.overlay import is_file
from system.foundation.overlay import lay_over
from system.foundation.overlay import put
from system.foundation.overlay import read_file
from system.foundation.overlay import read_settings
from system.foundation.overlay import with_environment
from system.foundation.yaml_tree import Leaf
from system.foundation.yaml_tree import Section
from system.foundation.yaml_tree import YamlProblem
from system.foundation.yaml_tree import parse


def tree(text: str, source: str = "r.yaml") -> Section:
    parsed = parse(text, source)
    assert isinstance(parsed, Section)
    return parsed


def laid(base: str, over: str, schema: type[BaseModel]) -> dict[str, object]:
    return lay_over(complete(tree(base), schema), tree(over), schema).plain()


def test_values_of_the_overlay_win_and_the_rest_stays(schema: type[BaseModel]) -> None:
    result = laid("size: {width: 1, depths: [1]}", "size: {depths: [2, 3]}", schema)
    assert result["size"] == {"width": 1, "depths": [2, 3], "distance": {"kind": "l1"}}


def test_a_changed_kind_replaces_its_section(schema: type[BaseModel]) -> None:
    base = "optimiser: {kind: adam, rate: 0.5}"
    assert laid(base, "optimiser: {kind: muon}", schema)["optimiser"] == {"kind": "muon"}
    assert laid(base, "optimiser: {kind: adam}", schema)["optimiser"] == {
        "kind": "adam",
        "rate": 0.5,
    }


def test_a_kind_left_to_its_default_changes_too(schema: type[BaseModel]) -> None:
    result = laid("size: {distance: {weight: 3}}", "size: {distance: {kind: l2}}", schema)
    assert result["size"] == {"distance": {"kind": "l2"}}
    kept = laid("size: {distance: {weight: 3}}", "size: {distance: {kind: l1}}", schema)
    assert kept["size"] == {"distance": {"kind": "l1", "weight": 3}}


def test_a_value_may_take_a_section_s_place(schema: type[BaseModel]) -> None:
    assert laid("extra: {width: 1}", "extra: null", schema)["extra"] is None
    assert laid("unknown: {a: {b: 1}}", "unknown: {a: {c: 2}}", schema)["unknown"] == {
        "a": {"b": 1, "c": 2}
    }


def test_complete_adds_the_sections_that_are_there_anyway(schema: type[BaseModel]) -> None:
    assert complete(Section({}, "r.yaml"), schema).plain() == {
        "size": {"distance": {"kind": "l1"}},
        "optimiser": {"kind": "adam"},
    }


def test_settings_of_the_command_line_are_one_layer() -> None:
    settings = read_settings(["a.b=1", "a.kind=x", "a.b=2e5", "c=[1, {d: null}]", "e=x=y", "f="])
    assert settings.plain() == {
        "a": {"b": 2e5, "kind": "x"},
        "c": [1, {"d": None}],
        "e": "x=y",
        "f": None,
    }
    assert {leaf.origin for _, leaf in settings.leaves()} == {"command line"}


def test_what_is_no_setting_is_named_with_what_to_write() -> None:
    with pytest.raises(YamlProblem) as caught:
        read_settings(["--run.seed=3", "seed", "a=[1", "ok=1", "b=*.tar"])
    assert caught.value.problems == [
        "command line: --run.seed=3: not understood; settings have no dashes, write run.seed=3",
        "command line: seed: not understood; expected an overlay such as configs/smoke.yaml, "
        "or a setting such as run.seed=1",
        "command line: not valid YAML: expected ',' or ']', but got '<stream end>' (in a=[1)",
        "command line: not valid YAML: expected alphabetic or numeric character, but found '.' "
        "(in b=*.tar); to mean the text, quote it twice: '\"*.tar\"'",
    ]


def test_which_arguments_are_overlays() -> None:
    assert is_file("configs/smoke.yaml")
    assert is_file("x.yml")
    assert not is_file("data.source=x.yaml")
    assert not is_file("smoke")


def test_files_are_read_with_their_name_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("x: 1\n")
    assert dict(read_file(tmp_path / "a.yaml").leaves())["x"].origin == "a.yaml:1"
    monkeypatch.chdir("/")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert dict(read_file(tmp_path / "a.yaml").leaves())["x"].origin == f"{tmp_path}/a.yaml:1"


def test_files_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(YamlProblem, match=r"^b\.yaml: no such file; check the path$"):
        read_file(Path("b.yaml"))
    (tmp_path / "a.yaml").write_text("just words")
    with pytest.raises(YamlProblem, match=r"^b\.yaml: no such file; \. has a\.yaml$"):
        read_file(Path("b.yaml"))
    with pytest.raises(YamlProblem, match=r"a\.yaml:1: expected keys with values"):
        read_file(Path("a.yaml"))
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(YamlProblem, match=r"c\.yaml: cannot be read as text"):
        read_file(Path("c.yaml"))


ENVIRONMENT = {"HOST": "store", "COUNT": "4", "FLAG": "true", "EMPTY": "", "ODD": "[1"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env:COUNT}", 4),
        ("'${env:COUNT}'", "4"),
        ("${env:FLAG}", True),
        ("s3://${env:HOST}/${env:COUNT}", "s3://store/4"),
        ("${env:ABSENT:-runs}", "runs"),
        ("${env:EMPTY:-runs}", "runs"),
        ("${env:HOST:-runs}", "store"),
        ("${env:ABSENT:-}", None),
        ("${env:ODD}", "[1"),
        ("${HOST}", "${HOST}"),
    ],
)
def test_references_to_the_environment(text: str, value: object) -> None:
    result, problems = with_environment(tree(f"a:\n  b: {text}\n"), ENVIRONMENT)
    assert problems == {}
    leaf = dict(result.leaves())["a.b"]
    assert leaf.value == value
    assert type(leaf.value) is type(value)


def test_origins_name_the_variable_and_absence_is_a_problem() -> None:
    result, problems = with_environment(tree("a: ${env:COUNT}\nb: x${env:ABSENT}\n"), ENVIRONMENT)
    assert dict(result.leaves())["a"].origin == "r.yaml:1, with COUNT of the environment"
    assert problems == {
        ("b",): "r.yaml:2: b: the environment has no ABSENT; set it, or give b another value"
    }


def test_put_makes_the_sections_on_the_way() -> None:
    base = tree("a: {b: 1}\nc: 2\n")
    assert put(base, ["a", "d", "e"], Leaf(5, "x")).plain() == {
        "a": {"b": 1, "d": {"e": 5}},
        "c": 2,
    }
    assert put(base, ["c", "f"], Leaf(5, "x")).plain() == {"a": {"b": 1}, "c": {"f": 5}}
    assert base.plain() == {"a": {"b": 1}, "c": 2}


@pytest.mark.parametrize(
    ("argument", "bare"),
    [("s3://bucket/a=1/b", True), ("shards/digits", True), ("runs/a.b=c", True), ("x.yaml", False),
     ("url=shards", False), ("a.b=", False), ("--help", False), ("-h", False)],
)  # fmt: skip
def test_a_value_without_key_is_told_from_all_else(argument: str, bare: bool) -> None:
    assert is_bare(argument) == bare
