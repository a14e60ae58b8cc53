"""A run's resolved recipe, key by key, with where each value came from."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from system.foundation.yaml_tree import Section
from system.foundation.yaml_tree import YamlProblem
from system.foundation.yaml_tree import dump_inline
from system.foundation.yaml_tree import parse

UNKNOWN = "not written down"


def recipe_rows(recipe: str | None, starts: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Each key with its value and its origin at the newest start: a file with its line, the command
    line, or the default. Empty where there is no recipe, or none that can be read."""
    if recipe is None:
        return []
    try:
        tree = parse(recipe, "recipe.yaml")
    except YamlProblem:
        return []
    if not isinstance(tree, Section):
        return []
    origins = starts[-1].get("origins") if starts else None
    known = origins if isinstance(origins, dict) else {}
    return [
        {
            "key": key,
            "value": _shown(leaf.value),
            "origin": str(known.get(key, UNKNOWN)),
        }
        for key, leaf in tree.leaves()
    ]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else dump_inline(value)
