"""In which words a set of shards differs from what it was: for runs that were stopped between."""

from collections.abc import Mapping
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from system.foundation.wording import counted

_NAMED = 3  # examples of each kind of change


def between(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two `Manifest.heads()`, a line for each kind; nothing if nothing does.

    The first may come from a file: what it lacks counts as different, never as an error.
    """
    changes = [
        f"{name}: {before.get(name)} before, {now[name]} now"
        for name in ("channels", "image_size")
        if before.get(name) != now[name]
    ]
    names = zip_longest(before.get("class_names", []), now["class_names"])
    moved = [f"{i}: {old!r}, now {new!r}" for i, (old, new) in enumerate(names) if old != new]
    if moved:
        changes.append(f"{len(moved)} class names differ: {_some(moved)}")
    return changes + _shards(before.get("shards", {}), now["shards"])


def _shards(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    kinds = {
        "gone": [name for name in before if name not in now],
        "added": [name for name in now if name not in before],
        "changed": [name for name in now if name in before and list(before[name]) != now[name]],
    }
    changes = [
        f"{counted(len(each), 'shard')} {kind}: {_some(each)}"
        for kind, each in kinds.items()
        if each
    ]
    if not changes and list(before) != list(now):
        return [f"the order of the {len(now)} shards"]
    return changes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
