"""Settings as layers: files, the command line and the environment, laid over one another.

Every function takes trees and returns new ones; nothing is validated here but form.
"""

import os
import re
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from system.foundation.keys import default_kind
from system.foundation.keys import is_present_by_default
from system.foundation.keys import kinds
from system.foundation.keys import record_at
from system.foundation.yaml_tree import Leaf
from system.foundation.yaml_tree import Section
from system.foundation.yaml_tree import Tree
from system.foundation.yaml_tree import YamlProblem
from system.foundation.yaml_tree import parse
from system.foundation.yaml_tree import parse_value

COMMAND_LINE = "command line"

_SETTING = re.compile(r"(?P<dashes>-*)(?P<key>[A-Za-z_]\w*(\.\w+)*)=(?P<value>.*)", re.DOTALL)
_REFERENCE = re.compile(r"\$\{env:(?P<name>[A-Za-z_]\w*)(:-(?P<default>[^}]*))?\}")


def read_file(path: Path) -> Section:
    """The tree of a YAML file. Raises YamlProblem if it cannot be read or is no mapping."""
    name = _shown(path)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        siblings = sorted(each.name for each in path.parent.glob("*.yaml"))
        there = f"{_shown(path.parent)} has {', '.join(siblings)}" if siblings else "check the path"
        raise YamlProblem([f"{name}: no such file; {there}"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise YamlProblem([f"{name}: cannot be read as text: {error}"]) from error
    tree = parse(text, name)
    if isinstance(tree, Leaf):
        raise YamlProblem([f"{tree.origin}: expected keys with values, found a single value"])
    return tree


def is_file(argument: str) -> bool:
    """Whether an argument of the command line names an overlay."""
    return argument.endswith((".yaml", ".yml")) and _SETTING.fullmatch(argument) is None


def is_bare(argument: str) -> bool:
    """Whether an argument is neither an overlay, nor a setting, nor a flag: a value without key."""
    is_setting = _SETTING.fullmatch(argument) is not None
    return not (is_setting or is_file(argument) or argument.startswith("-"))


def read_settings(arguments: Sequence[str]) -> Section:
    """The tree of `key.path=value` arguments; a later one wins. Raises YamlProblem."""
    settings = Section({}, COMMAND_LINE)
    problems: list[str] = []
    for argument in arguments:
        match = _SETTING.fullmatch(argument)
        if match is None or match["dashes"]:
            problems.append(_not_a_setting(argument, match))
            continue
        try:
            value = parse_value(match["value"], COMMAND_LINE)
        except YamlProblem as problem:
            hint = _quoted(match["value"])
            problems += [f"{each} (in {argument}){hint}" for each in problem.problems]
            continue
        settings = put(settings, match["key"].split("."), value)
    if problems:
        raise YamlProblem(problems)
    return settings


def _quoted(value: str) -> str:
    """What to write in place of a pattern such as *.tar, which YAML takes for an alias."""
    return f"; to mean the text, quote it twice: '\"{value}\"'" if value.startswith("*") else ""


def put(tree: Section, path: Sequence[str], value: Tree) -> Section:
    """The tree with one node set; sections on the way are made."""
    name, *rest = path
    if rest:
        below = tree.children.get(name)
        section = below if isinstance(below, Section) else Section({}, value.origin)
        value = put(section, rest, value)
    return Section({**tree.children, name: value}, tree.origin)


def lay_over(base: Section, over: Section, record: type[BaseModel] | None) -> Section:
    """`base` with the values of `over`; a section whose kind changes is replaced whole.

    `base` must be `complete`, so that a kind left to its default is known to change too.
    """
    children = dict(base.children)
    for name, child in over.children.items():
        below = children.get(name)
        if isinstance(below, Section) and isinstance(child, Section) and not _changes(below, child):
            child = lay_over(below, child, _record_below(record, name, below))
        children[name] = child
    return Section(children, base.origin)


def complete(tree: Section, record: type[BaseModel]) -> Section:
    """The tree with every section that is there by default, and with its kind said."""
    children = dict(tree.children)
    for name, field in record.model_fields.items():
        if not kinds(field):
            continue
        if name not in children and is_present_by_default(field):
            children[name] = Section({}, tree.origin)
        child = children.get(name)
        if not isinstance(child, Section):
            continue
        kind = default_kind(field)
        if kind is not None and "kind" not in child.children:
            child = Section({"kind": Leaf(kind, "default"), **child.children}, child.origin)
        below = record_at(field, _kind(child))
        children[name] = complete(child, below) if below is not None else child
    return Section(children, tree.origin)


def with_environment(
    tree: Section, environment: Mapping[str, str]
) -> tuple[Section, dict[tuple[str | int, ...], str]]:
    """The tree with `${env:NAME}` replaced, and a problem for each name that is not set."""
    problems: dict[tuple[str | int, ...], str] = {}
    for key, leaf in tree.leaves():
        if not isinstance(leaf.value, str) or "${env:" not in leaf.value:
            continue
        path = key.split(".")
        try:
            tree = put(tree, path, _expanded(leaf, environment))
        except KeyError as error:
            problems[tuple(path)] = (
                f"{leaf.origin}: {key}: the environment has no {error.args[0]}; "
                f"set it, or give {key} another value"
            )
    return tree, problems


def _expanded(leaf: Leaf, environment: Mapping[str, str]) -> Leaf:
    names: list[str] = []

    def value_of(match: re.Match[str]) -> str:
        names.append(match["name"])
        found = environment.get(match["name"])
        if match["default"] is not None:
            return found or match["default"]
        if found is None:
            raise KeyError(match["name"])
        return found

    text = _REFERENCE.sub(value_of, leaf.value)
    origin = f"{leaf.origin}, with {', '.join(names)} of the environment" if names else leaf.origin
    if leaf.text is not None and _REFERENCE.fullmatch(leaf.value):
        return Leaf(_scalar(text), origin, text)
    return Leaf(text, origin)


def _scalar(text: str) -> Any:
    """A number or truth value if the text is one, else the text."""
    try:
        tree = parse_value(text, "")
    except YamlProblem:
        return text
    return tree.value if isinstance(tree, Leaf) and tree.text == text else text


def _changes(below: Section, over: Section) -> bool:
    return "kind" in over.children and _kind(over) != _kind(below)


def _kind(section: Section) -> Any:
    leaf = section.children.get("kind")
    return leaf.value if isinstance(leaf, Leaf) else None


def _record_below(
    record: type[BaseModel] | None, name: str, section: Section
) -> type[BaseModel] | None:
    field = record.model_fields.get(name) if record is not None else None
    return record_at(field, _kind(section)) if field is not None else None


def _not_a_setting(argument: str, match: re.Match[str] | None) -> str:
    hint = (
        f"settings have no dashes, write {match['key']}={match['value']}"
        if match is not None
        else "expected an overlay such as configs/smoke.yaml, or a setting such as run.seed=1"
    )
    return f"{COMMAND_LINE}: {argument}: not understood; {hint}"


def _shown(path: Path) -> str:
    """A path below the current folder is shown from there."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
