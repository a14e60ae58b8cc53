"""A run that is started again: what is different since its last start, said and written down.

    run 'digits' goes on at 51,200 images; since its last start has changed:
      engine.optimiser.learning_rate: 0.001 → 0.0005
      versions.torch: 2.13.0 → 2.15.0

What may not change at all is refused before, by `preflight.check_checkpoint`.
"""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from system.foundation import storage
from system.foundation.config import Resolved
from system.foundation.config import flatten
from system.foundation.recipe import Recipe
from system.foundation.yaml_tree import Leaf
from system.foundation.yaml_tree import Section
from system.foundation.yaml_tree import YamlProblem
from system.foundation.yaml_tree import dump_inline
from system.foundation.yaml_tree import parse
from system.launch.cluster import program_started
from system.launch.provenance import provenance
from system.telemetry.ledger import Ledger

# The same folder, however it is written.
SAME_BY_NATURE = ("run.name", "run.root")
ABSENT = "(not there)"


def changes(url: str, resolved: Resolved[Recipe], root: Path) -> list[str]:
    """A line for each key, version or commit that differs from the last start of the run at `url`.

    Nothing where there was none, or where what it left cannot be read.
    """
    before = _recipe_before(url)
    if before is None:
        return []
    now = {key: value for key, value in flatten(resolved.recipe).items() if _counts(key)}
    start, last = provenance(resolved, root), _start_before(url)
    return [
        *_differences(before, now),
        *_differences(_facts(last), _facts(start)),
    ]


def tell_of_start(
    url: str, resolved: Resolved[Recipe], root: Path, *, images_seen: int
) -> list[str]:
    """Print and write into the ledger that a driver starts, and what has changed. Returns that.

    To be called before the run's folder tells of this start.
    """
    changed, run = changes(url, resolved, root), resolved.recipe.run.name
    said = f"goes on at {images_seen:,} images" if images_seen else f"starts in {url}"
    if not images_seen and _recipe_before(url) is not None:
        said += " from its first image, as nothing was saved before"
    if changed:
        said += "; since its last start has changed:" + "".join(f"\n  {line}" for line in changed)
    print(f"run {run!r} {said}", flush=True)
    with Ledger(url, "driver", run=run) as ledger:
        ledger.write(
            "driver_started",
            images_seen=images_seen,
            changes=changed,
            host=platform.node(),
            process=os.getpid(),
            process_started=program_started(),
        )
    return changed


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: {before.get(key, ABSENT)} → {now.get(key, ABSENT)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key, ABSENT) != now.get(key, ABSENT)
    ]


def _recipe_before(url: str) -> dict[str, Any] | None:
    """The keys of the recipe that the run was last started with; it may be one of older code."""
    place = storage.join(url, "recipe.yaml")
    if not storage.exists(place):
        return None
    try:
        tree = parse(storage.read_text(place), "recipe.yaml")
    except YamlProblem:
        return None
    if not isinstance(tree, Section):
        return None
    return {key: _value(leaf) for key, leaf in tree.leaves() if _counts(key)}


def _value(leaf: Leaf) -> Any:
    return dump_inline(leaf.value) if isinstance(leaf.value, list) else leaf.value


def _start_before(url: str) -> Mapping[str, Any]:
    place = storage.join(url, "provenance.json")
    if not storage.exists(place):
        return {}
    try:
        starts = json.loads(storage.read_text(place))["starts"]
        return starts[-1] if isinstance(starts[-1], dict) else {}
    except (ValueError, KeyError, TypeError, IndexError):
        return {}


def _facts(start: Mapping[str, Any]) -> dict[str, Any]:
    """What a start says of the code it ran."""
    versions = start.get("versions")
    named = versions if isinstance(versions, dict) else {}
    return {"commit": start.get("commit")} | {f"versions.{name}": v for name, v in named.items()}


def _counts(key: str) -> bool:
    return key not in SAME_BY_NATURE
