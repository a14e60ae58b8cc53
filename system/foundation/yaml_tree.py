"""YAML 1.2 read into a tree that knows where every value stands.

PyYAML follows YAML 1.1, where `1e-4` is a text, `on` is true, `012` is ten and a key given twice
silently keeps the last. Here scalars follow the core schema of YAML 1.2, and duplicate keys and
foreign tags are refused, each with its line.

Source: YAML 1.2.2, section 10.3.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import yaml

Scalar = str | int | float | bool | None

_CORE_SCHEMA = {
    "tag:yaml.org,2002:null": (r"(~|null|Null|NULL|)", "~nN\0"),
    "tag:yaml.org,2002:bool": (r"(true|True|TRUE|false|False|FALSE)", "tTfF"),
    "tag:yaml.org,2002:int": (r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))",
        "-+0123456789.",
    ),
}


class _Loader(yaml.SafeLoader):
    """Knows no scalars but those added below."""


_Loader.yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or 1.2 would not read back as the same text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, (_pattern, _first) in _CORE_SCHEMA.items():
    _initials = ["" if letter == "\0" else letter for letter in _first]
    _Loader.add_implicit_resolver(_tag, re.compile(f"^{_pattern}$"), _initials)
    _Dumper.add_implicit_resolver(_tag, re.compile(f"^{_pattern}$"), _initials)

_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True)
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar or a list, where it came from, and its text if it was a bare word."""

    value: Any
    origin: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of keys to leaves and sections."""

    children: "dict[str, Leaf | Section]" = field(default_factory=dict)
    origin: str = "default"

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Leaf]]:
        """Every leaf below, with its full key."""
        for name, child in self.children.items():
            if isinstance(child, Leaf):
                yield prefix + name, child
            else:
                yield from child.leaves(f"{prefix}{name}.")

    def plain(self) -> dict[str, Any]:
        """The values alone, as nested dictionaries."""
        return {
            name: child.value if isinstance(child, Leaf) else child.plain()
            for name, child in self.children.items()
        }


Tree = Leaf | Section


class YamlProblem(Exception):
    """What is wrong with a text: one message per problem, each with its line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def parse(text: str, source: str) -> Tree:
    """The tree of one YAML document. `source` names it in origins, as `source:line`."""
    return _Reading(source, lines=True).document(text)


def parse_value(text: str, origin: str) -> Tree:
    """The tree of a value given without a file, all of one origin."""
    return _Reading(origin, lines=False).document(text)


def dump(values: dict[str, Any]) -> str:
    """YAML that `parse` reads back to the same values; a list stays on one line."""
    return yaml.dump(
        values,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )


def dump_inline(value: Any) -> str:
    """One value as it would be written after `key.path=`."""
    text = yaml.dump(
        value, Dumper=_Dumper, allow_unicode=True, default_flow_style=True, width=2**20
    )
    return text.removesuffix("\n").removesuffix("\n...")


class _Reading:
    """One pass over one document; collects problems instead of stopping at the first."""

    def __init__(self, source: str, *, lines: bool) -> None:
        self.source = source
        self.lines = lines
        self.problems: list[str] = []

    def document(self, text: str) -> Tree:
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            place = self.origin(error.problem_mark) if error.problem_mark else self.source
            raise YamlProblem([f"{place}: not valid YAML: {error.problem}"]) from error
        except yaml.YAMLError as error:
            raise YamlProblem([f"{self.source}: not valid YAML: {error}"]) from error
        if node is None:
            return Section({}, self.source) if self.lines else Leaf(None, self.source, "")
        tree = self.tree(node, "", None, set())
        if self.problems:
            raise YamlProblem(self.problems)
        return tree

    def origin(self, mark: Any) -> str:
        return f"{self.source}:{mark.line + 1}" if self.lines else self.source

    def tree(self, node: yaml.Node, key: str, mark: Any, inside: set[int]) -> Tree:
        place = self.origin(mark or node.start_mark)
        if id(node) in inside:
            self.problems.append(f"{place}: {key}: contains itself by an alias")
            return Leaf(None, place)
        inside = inside | {id(node)}
        if isinstance(node, yaml.MappingNode):
            return Section(self.mapping(node, key, inside), place if key else self.source)
        if isinstance(node, yaml.SequenceNode):
            items = [self.tree(item, key, mark, inside) for item in node.value]
            return Leaf([i.value if isinstance(i, Leaf) else i.plain() for i in items], place)
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return Leaf(self.scalar(node, key, place), place, node.value if plain else None)

    def mapping(self, node: yaml.MappingNode, key: str, inside: set[int]) -> dict[str, Tree]:
        children: dict[str, Tree] = {}
        first_line: dict[str, int] = {}
        for name_node, value_node in node.value:
            name, mark = name_node.value, name_node.start_mark
            place, full = self.origin(mark), f"{key}.{name}" if key else str(name)
            if not isinstance(name_node, yaml.ScalarNode):
                self.problems.append(f"{place}: {key or 'document'}: a key must be a single word")
                continue
            if name in first_line:
                self.problems.append(
                    f"{place}: {full}: given twice (first at line {first_line[name]}); "
                    "keep one of them"
                )
                continue
            first_line[name] = mark.line + 1
            children[name] = self.tree(value_node, full, mark, inside)
        return children

    def scalar(self, node: yaml.Node, key: str, place: str) -> Scalar:
        text, tag = node.value, node.tag.removeprefix("tag:yaml.org,2002:")
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag == "int":
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if tag == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if tag != "str":
            self.problems.append(f"{place}: {key}: tag {node.tag} is not understood; leave it out")
        return text
