import pytest
from pydantic import BaseModel
from pydantic import ValidationError

from system.foundation.problems import explain
from system.foundation.problems import nearest
from system.foundation.problems import node_at
from system.foundation.yaml_tree import Section
from system.foundation.yaml_tree import parse


def tree(text: str) -> Section:
    parsed = parse(text, "r.yaml")
    assert isinstance(parsed, Section)
    return parsed


def test_problems_are_keyed_by_their_path_without_kinds(schema: type[BaseModel]) -> None:
    settings = tree(
        "size:\n  width: x\noptimiser:\n  kind: muon\n  rate: -1\nsource: {kind: digits}"
    )
    with pytest.raises(ValidationError) as caught:
        schema.model_validate(settings.plain())
    assert explain(caught.value, settings, schema) == {
        ("size", "width"): "r.yaml:2: size.width: found x; expected whole number > 0 and <= 4096 "
        "(channels)",
        ("optimiser", "rate"): "r.yaml:5: optimiser.rate: found -1; expected number > 0 "
        "(learning rate)",
    }


def test_long_values_are_shortened(schema: type[BaseModel]) -> None:
    settings = tree(f"size: {{width: {'x' * 100}}}\nsource: {{kind: digits}}")
    with pytest.raises(ValidationError) as caught:
        schema.model_validate(settings.plain())
    line = explain(caught.value, settings, schema)["size", "width"]
    assert f"found {'x' * 57}...;" in line


def test_the_nearest_node_above_answers_for_what_is_missing() -> None:
    settings = tree("a:\n  b: 1\n")
    assert node_at(settings, ("a", "b")).origin == "r.yaml:2"
    assert node_at(settings, ("a", "c")).origin == "r.yaml:1"
    assert node_at(settings, ("a", "b", 3)).origin == "r.yaml:2"
    assert node_at(settings, ()).origin == "r.yaml"


def test_only_similar_names_are_near() -> None:
    assert nearest("widht", ["width", "depth"]) == "width"
    assert nearest("zzz", ["width", "depth"]) is None
