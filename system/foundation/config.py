"""Fills a frozen record from a recipe, its overlays and the command line, and says where from.

One grammar everywhere: `python jobs/simflow_256.py [overlay.yaml ...] key.path=value ...`. Overlays
are laid over the recipe in order, then the settings of the command line, all at once. Changing a
`kind` replaces its whole section: settings of one optimiser never leak into another. A text may
hold `${env:NAME}` or `${env:NAME:-default}`, read from the environment. Everything that is wrong is
said in one RecipeError, with file and line.
"""

import fnmatch
import hashlib
import json
import math
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Generic
from typing import TypeVar
from typing import overload

from pydantic import BaseModel
from pydantic import ValidationError

from system.foundation.credentials import credential_in
from system.foundation.errors import RecipeError
from system.foundation.help_page import render
from system.foundation.keys import locate
from system.foundation.overlay import COMMAND_LINE
from system.foundation.overlay import complete
from system.foundation.overlay import is_file
from system.foundation.overlay import lay_over
from system.foundation.overlay import put
from system.foundation.overlay import read_file
from system.foundation.overlay import read_settings
from system.foundation.overlay import with_environment
from system.foundation.problems import KeyPath
from system.foundation.problems import explain
from system.foundation.problems import node_at
from system.foundation.recipe import Recipe
from system.foundation.yaml_tree import Leaf
from system.foundation.yaml_tree import Scalar
from system.foundation.yaml_tree import Section
from system.foundation.yaml_tree import YamlProblem
from system.foundation.yaml_tree import dump
from system.foundation.yaml_tree import dump_inline

R = TypeVar("R", bound=BaseModel)

# Where a run writes, how the cluster cuts its batch and what watches it do not change its numbers.
INDIFFERENT_KEYS = (
    "run.name",
    "run.root",
    "run.allow_changes",
    "run.report_every_images",
    "run.checkpoint_every_images",
    "run.keep_best",
    "run.keep_checkpoints",
    "run.keep_every_images",
    "cluster.*",
    "data.shards",
    "data.workers",
    "data.prefetch",
    "data.max_bad_fraction",
    "flow.checkpoint_activations",
    "objective.perceptual.trunk",
    "engine.zero_stage",
    "engine.max_skipped_updates",
    "evaluation.*",
    "wandb.*",
)


@dataclass(frozen=True, slots=True)
class Resolved(Generic[R]):
    """A checked record, and for each of its keys where the value came from."""

    recipe: R
    sources: dict[str, str]  # "default", "configs/digits.yaml:12" or "command line"

    def to_yaml(self) -> str:
        """The whole record as YAML that `resolve` reads back to an equal one."""
        return dump(self.recipe.model_dump(mode="json"))


@overload
def resolve(path: Path | None, arguments: Sequence[str]) -> Resolved[Recipe]: ...
@overload
def resolve(path: Path | None, arguments: Sequence[str], schema: type[R]) -> Resolved[R]: ...
def resolve(
    path: Path | None, arguments: Sequence[str], schema: type[BaseModel] = Recipe
) -> Resolved[Any]:
    """The record that a recipe, overlays and `key.path=value` arguments describe.

    Paths are taken from the current folder. Raises RecipeError naming everything that is wrong:
    the place, the full key, what was found, what is allowed, and the nearest valid key.
    """
    files = ([] if path is None else [path]) + [Path(each) for each in arguments if is_file(each)]
    settings = [each for each in arguments if not is_file(each)]
    layers = _read_all(
        [lambda file=file: read_file(file) for file in files] + [lambda: read_settings(settings)]
    )
    tree = complete(Section({}, COMMAND_LINE if path is None else layers[0].origin), schema)
    for layer in layers:
        tree = complete(lay_over(tree, layer, schema), schema)
    tree, unset = with_environment(tree, os.environ)
    _refuse_credentials(tree)
    record = _validated(tree, schema, unset)
    return Resolved(record, _sources(record, tree))


def record_from_mapping(values: Mapping[str, Any], schema: type[R]) -> R:
    """The record of plain values as `model_dump(mode="json")` wrote them. Raises RecipeError."""
    tree = complete(_tree(values, "the mapping"), schema)
    return _validated(tree, schema, {})


def recipe_from_mapping(values: Mapping[str, Any]) -> Recipe:
    """The recipe that crossed to a worker as plain values. Raises RecipeError."""
    return record_from_mapping(values, Recipe)


def describe(settings: Resolved[Any] | BaseModel) -> str:
    """The page of `--help`: every key with its type, value here, and meaning."""
    return render(settings.recipe if isinstance(settings, Resolved) else settings)


def flatten(recipe: BaseModel) -> dict[str, Scalar]:
    """Every key by its full name; a list is written as it would be on the command line."""
    return dict(_flat(recipe.model_dump(mode="json")))


def recipe_digest(recipe: Recipe) -> str:
    """Sixteen hex digits that change when a key changes that can change the run's numbers."""
    kept = {
        key: value
        for key, value in flatten(recipe).items()
        if not any(fnmatch.fnmatchcase(key, pattern) for pattern in INDIFFERENT_KEYS)
    }
    text = json.dumps(kept, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _read_all(readers: Sequence[Callable[[], Section]]) -> list[Section]:
    """What each reader reads; their problems are raised together."""
    layers: list[Section] = []
    problems: list[str] = []
    for read in readers:
        try:
            layers.append(read())
        except YamlProblem as problem:
            problems += problem.problems
    if problems:
        raise _error(problems)
    return layers


def _refuse_credentials(tree: Section) -> None:
    """Before anything else is said of the values, since that would show them."""
    found = {key: (leaf.origin, credential_in(str(leaf.value))) for key, leaf in tree.leaves()}
    problems = [
        f"{origin}: {key}: holds a url with {kind} in it, which recipe, ledger and logs would "
        "keep; credentials belong into the environment or the files of the store's own tools"
        for key, (origin, kind) in found.items()
        if kind is not None
    ]
    if problems:
        raise _error(problems)


def _validated(tree: Section, schema: type[R], unset: dict[KeyPath, str]) -> R:
    try:
        record = _checked(tree, schema)
    except ValidationError as error:
        tree = _numbers_as_texts(tree, error, schema)
        try:
            record = _checked(tree, schema)
        except ValidationError as remaining:
            problems = explain(remaining, tree, schema)
            problems.update(unset)
            raise _error(list(problems.values())) from None
    if unset:
        raise _error(list(unset.values()))
    return record


def _checked(tree: Section, schema: type[R]) -> R:
    # Strict, so that `true` is no number and "yes" no truth value; as JSON, where a list may still
    # become a tuple.
    return schema.model_validate_json(json.dumps(_whole(tree.plain())), strict=True)


def _whole(value: Any) -> Any:
    """2e5 is a whole number: a float without fraction becomes one, and fits a float field too."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


def _numbers_as_texts(tree: Section, error: ValidationError, schema: type[BaseModel]) -> Section:
    """`run.name=2024` means the text: a bare number where a text belongs is taken as written."""
    for detail in error.errors(include_url=False):
        path, _ = locate(schema, detail["loc"])
        leaf = node_at(tree, path)
        if detail["type"] != "string_type" or not isinstance(leaf, Leaf) or leaf.text is None:
            continue
        if isinstance(leaf.value, (int, float)) and not isinstance(leaf.value, bool):
            tree = put(tree, [str(part) for part in path], Leaf(leaf.text, leaf.origin))
    return tree


def _sources(record: BaseModel, tree: Section) -> dict[str, str]:
    origins = {key: leaf.origin for key, leaf in tree.leaves()}
    return {key: origins.get(key, "default") for key in flatten(record)}


def _tree(values: Mapping[str, Any], origin: str) -> Section:
    return Section(
        {
            name: _tree(value, origin) if isinstance(value, Mapping) else Leaf(value, origin)
            for name, value in values.items()
        },
        origin,
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, dump_inline(value) if isinstance(value, list) else value


def _error(problems: list[str]) -> RecipeError:
    if len(problems) == 1:
        return RecipeError(problems[0])
    lines = "".join(f"\n  {problem}" for problem in problems)
    return RecipeError(f"{len(problems)} problems in the settings:{lines}")
