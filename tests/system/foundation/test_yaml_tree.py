import math

import pytest
import yaml

from system.foundation.yaml_tree import Leaf
from system.foundation.yaml_tree import Section
from system.foundation.yaml_tree import YamlProblem
from system.foundation.yaml_tree import dump
from system.foundation.yaml_tree import dump_inline
from system.foundation.yaml_tree import parse
from system.foundation.yaml_tree import parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5E+3", 5000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        ("012", 12),
        ("0x1f", 31),
        ("0o17", 15),
        ("-3", -3),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("on", "on"),
        ("yes", "yes"),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("'1e-4'", "1e-4"),
        ('"true"', "true"),
        ("[1, 2.5, x, [null]]", [1, 2.5, "x", [None]]),
        ("[{a: 1}]", [{"a": 1}]),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    leaf = parse_value(text, "here")
    assert isinstance(leaf, Leaf)
    assert leaf.value == value
    assert type(leaf.value) is type(value)


def test_not_a_number_is_read() -> None:
    leaf = parse_value(".nan", "here")
    assert isinstance(leaf, Leaf)
    assert math.isnan(leaf.value)


def test_every_leaf_knows_its_line() -> None:
    tree = parse("# title\na: 1\nb:\n  c: [1,\n    2]\n  d: {e: x}\n", "r.yaml")
    assert isinstance(tree, Section)
    assert {key: (leaf.value, leaf.origin) for key, leaf in tree.leaves()} == {
        "a": (1, "r.yaml:2"),
        "b.c": ([1, 2], "r.yaml:4"),
        "b.d.e": ("x", "r.yaml:6"),
    }
    assert tree.plain() == {"a": 1, "b": {"c": [1, 2], "d": {"e": "x"}}}
    assert tree.origin == "r.yaml"


def test_an_empty_document_is_an_empty_section() -> None:
    assert parse("# nothing\n", "r.yaml") == Section({}, "r.yaml")


def test_bare_words_keep_their_text() -> None:
    bare, quoted = parse_value("007", "here"), parse_value("'007'", "here")
    assert isinstance(bare, Leaf)
    assert isinstance(quoted, Leaf)
    assert (bare.value, bare.text) == (7, "007")
    assert (quoted.value, quoted.text) == ("007", None)


def test_an_alias_repeats_its_value() -> None:
    tree = parse("a: &x {b: 1}\nc: *x\n", "r.yaml")
    assert isinstance(tree, Section)
    assert tree.plain() == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "a: 1\nb: {c: 1, c: 2}\na: 2",
            [
                "r.yaml:2: b.c: given twice (first at line 2); keep one of them",
                "r.yaml:3: a: given twice (first at line 1); keep one of them",
            ],
        ),
        ("a: [1", ["r.yaml:1: not valid YAML: expected ',' or ']', but got '<stream end>'"]),
        ("a: &x [*x]", ["r.yaml:1: a: contains itself by an alias"]),
        (
            "a:\n  b: !!python/object:os.system 1",
            [
                "r.yaml:2: a.b: tag tag:yaml.org,2002:python/object:os.system is not understood; "
                "leave it out"
            ],
        ),
        ("a:\n  ? [1, 2]\n  : 3", ["r.yaml:2: a: a key must be a single word"]),
        (
            "a: 1\n\tb: 2",
            ["r.yaml:2: not valid YAML: found character '\\t' that cannot start any token"],
        ),
    ],
)
def test_what_is_refused_is_refused_with_its_line(text: str, problems: list[str]) -> None:
    with pytest.raises(YamlProblem) as caught:
        parse(text, "r.yaml")
    assert caught.value.problems == problems


def test_unprintable_characters_are_refused() -> None:
    with pytest.raises(YamlProblem, match=r"r\.yaml: not valid YAML: unacceptable character"):
        parse("a: \x00", "r.yaml")


VALUES = {
    "list": [1, 2.5, None],
    "number": 1e-05,
    "texts": {"a": "1e5", "b": "on", "c": "012", "d": "", "e": "null", "f": "0o7", "g": "µ: x"},
    "nothing": None,
    "truth": True,
}


def test_what_is_dumped_is_read_back() -> None:
    tree = parse(dump(VALUES), "r.yaml")
    assert isinstance(tree, Section)
    assert tree.plain() == VALUES


def test_what_is_dumped_means_the_same_to_yaml_1_1() -> None:
    assert yaml.safe_load(dump(VALUES)) == VALUES


@pytest.mark.parametrize("value", [[2, 2, 4], "1e5", "on", None, 1e-5, True, "", "two words", 7])
def test_inline_values_are_read_back(value: object) -> None:
    leaf = parse_value(dump_inline(value), "here")
    assert isinstance(leaf, Leaf)
    assert leaf.value == value
    assert "\n" not in dump_inline(value)
