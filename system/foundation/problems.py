"""What pydantic found wrong with settings, said so that it can be mended at once.

Each line names the place, the full key, what was found, what is allowed, and the nearest key.
"""

import difflib
import re
from typing import Any

from pydantic import BaseModel
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from system.foundation.keys import key
from system.foundation.keys import keys
from system.foundation.keys import kinds
from system.foundation.keys import locate
from system.foundation.yaml_tree import Leaf
from system.foundation.yaml_tree import Section
from system.foundation.yaml_tree import Tree
from system.foundation.yaml_tree import dump_inline

KeyPath = tuple[str | int, ...]


def explain(error: ValidationError, tree: Section, schema: type[BaseModel]) -> dict[KeyPath, str]:
    """One line for each thing that is wrong, by the path of its key, in pydantic's order."""
    problems: dict[KeyPath, list[str]] = {}
    for detail in error.errors(include_url=False):
        path, field = locate(schema, detail["loc"])
        said, line = problems.setdefault(path, []), _line(detail, path, field, tree, schema)
        if line not in said:  # as for every type that a value could have had
            said.append(line)
    # What is wrong within a list is said of its place there.
    above = {path[:length] for path in problems for length in range(1, len(path))}
    return {path: "; ".join(said) for path, said in problems.items() if path not in above}


def node_at(tree: Tree, path: KeyPath) -> Tree:
    """The node at a path, or the nearest one above it."""
    for part in path:
        if not isinstance(tree, Section) or part not in tree.children:
            return tree
        tree = tree.children[str(part)]
    return tree


def nearest(name: str, names: list[str]) -> str | None:
    """The most similar of the names, if one is similar at all."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return found[0] if found else None


def _line(
    detail: ErrorDetails,
    path: KeyPath,
    field: FieldInfo | None,
    tree: Section,
    schema: type[BaseModel],
) -> str:
    name = _name(path)
    place = node_at(tree, path).origin
    start = f"{place}: {name}: " if name else f"{place}: "
    if detail["type"] == "extra_forbidden":
        return start + _unknown(name, path, tree, schema)
    if field is None or detail["type"] in ("value_error", "assertion_error"):
        return start + detail["msg"].removeprefix("Value error, ") + _origins(detail["msg"], tree)
    if detail["type"] == "missing":
        return f"{start}missing; {_expected(field, name)}"
    if detail["type"] == "union_tag_not_found":
        return f"{start}kind is missing; expected {' | '.join(kinds(field))}"
    if detail["type"] == "union_tag_invalid":
        found = str(detail.get("ctx", {}).get("tag"))
        return _wrong_kind(name, found, field, tree, path)
    return start + _wrong_value(detail, field, name)


def _unknown(name: str, path: KeyPath, tree: Section, schema: type[BaseModel]) -> str:
    known = [each.name for each in keys(schema)]
    node = node_at(tree, path)
    found = f" (found {_shown(node.value)})" if isinstance(node, Leaf) else ""
    if name in known:
        _, field = locate(schema, path[:-1])
        having = [kind for kind, each in kinds(field).items() if path[-1] in each.model_fields]
        kind = node_at(tree, (*path[:-1], "kind"))
        assert isinstance(kind, Leaf)
        return f"unknown key{found}: kind {kind.value} has none; kind {' | '.join(having)} has"
    guesses = _guesses(name, known)
    hint = f"did you mean {' or '.join(guesses)}?" if guesses else "--help lists every key"
    return f"unknown key{found}; {hint}"


def _guesses(name: str, known: list[str]) -> list[str]:
    """The keys that were most likely meant: nearest as a whole, or nearest in their last word.

    So `learning_rate` alone finds the keys of that name that lie deeper.
    """
    sections = {each.rsplit(".", depth)[0] for each in known for depth in range(1, 5)}
    whole = nearest(name, sorted({*known, *sections}))
    word = nearest(_last(name), [_last(each) for each in known])
    if word is not None and (whole is None or _alike(_last(name), word) > _alike(name, whole)):
        return [each for each in dict.fromkeys(known) if _last(each) == word]
    return [] if whole is None else [whole]


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _origins(message: str, tree: Section) -> str:
    """Where the keys that a message names were given."""
    words = set(re.findall(r"\w+(?:\.\w+)+", message))
    named = [f"{key} from {leaf.origin}" for key, leaf in tree.leaves() if key in words]
    return f" ({', '.join(named)})" if named else ""


def _name(path: KeyPath) -> str:
    """`flow.depths[1]` of ("flow", "depths", 1)."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def _wrong_kind(name: str, found: str, field: FieldInfo, tree: Section, path: KeyPath) -> str:
    place = node_at(tree, (*path, "kind")).origin
    guess = nearest(found, list(kinds(field)))
    return f"{place}: {name}.kind: found {found}; expected {' | '.join(kinds(field))}" + (
        f"; did you mean {guess}?" if guess else ""
    )


def _wrong_value(detail: ErrorDetails, field: FieldInfo, name: str) -> str:
    found = _shown(detail["input"])
    choices = _expected(field, name)
    guess = None
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        guess = nearest(detail["input"], key(field, name).expects.split(" | "))
    return f"found {found}; {choices}" + (f"; did you mean {guess}?" if guess else "")


def _expected(field: FieldInfo, name: str) -> str:
    if kinds(field):
        return "expected a section of keys"
    described = key(field, name)
    meaning = f" ({described.meaning})" if described.meaning else ""
    return f"expected {described.expects}{meaning}"


def _shown(value: Any) -> str:
    text = dump_inline(value)
    return text if len(text) <= 60 else text[:57] + "..."
