"""Which folder or WordNet id has which label and which name, from a file.

    n01440764 tench, Tinca tinca        an id and a name on each line: labels by the order of lines
    n01440764 0 tench                   the label between them, where all lines have one
    {"n01440764": 0, ...}               or JSON: {id: label}, {id: [label, name]},
    {"0": ["n01440764", "tench"], ...}  {label: [id, name]}, or a list of ids in order of labels

An id that holds spaces is followed by a tab.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from data_pipeline.sources.entry import read_given
from system.foundation.errors import DataError

_FORMS = (
    "`ID NAME` or `ID LABEL NAME` on each line, or JSON (see data_pipeline/sources/class_map.py)"
)


@dataclass(frozen=True, slots=True)
class ClassMap:
    """The label of each id, and the name of each label."""

    place: str
    labels: dict[str, int]
    names: tuple[str, ...]

    def label(self, name: str) -> int:
        """The label of a folder or id. Raises DataError where the file has none."""
        found = self.labels.get(name)
        if found is None:
            raise DataError(
                f"{self.place}: no class {name!r} among its {len(self.labels)} (such as "
                f"{', '.join(list(self.labels)[:3])}). Add a line for it, or leave the map out."
            )
        return found


def alphabetical(names: Iterable[str], place: str) -> ClassMap:
    """Labels by the sorted order of the names, as everybody numbers ImageNet."""
    ordered = tuple(sorted(set(names)))
    return ClassMap(place, {name: label for label, name in enumerate(ordered)}, ordered)


def read_class_map(url: str) -> ClassMap:
    """The map at `url`. Raises DataError where labels are not 0 to n-1, each once."""
    try:
        text = read_given(url, "class_map").decode()
        if text.lstrip()[:1] in ("{", "["):
            rows = _rows_of_json(json.loads(text))
        else:
            rows = _rows_of_lines([line for line in text.splitlines() if line.strip()])
    except (ValueError, TypeError, IndexError, KeyError) as problem:
        raise DataError(f"{url}: not a class map ({problem}); expected {_FORMS}.") from problem
    labels = {name: label for name, label, _ in rows}
    if not rows or len(labels) != len(rows) or sorted(labels.values()) != [*range(len(rows))]:
        raise DataError(
            f"{url}: {len(rows)} classes with {len(labels)} different ids and labels "
            f"{sorted({label for _, label, _ in rows})[:5]}...; expected each id once, and the "
            f"labels 0 to {len(rows) - 1}, each once."
        )
    names = {label: name for _, label, name in rows}
    return ClassMap(url, labels, tuple(names[label] for label in range(len(rows))))


def _rows_of_lines(lines: list[str]) -> list[tuple[str, int, str]]:
    pairs = []
    for line in lines:
        first, _, rest = line.partition("\t") if "\t" in line else line.strip().partition(" ")
        pairs.append((first.strip(), rest.strip()))
    if all(rest.split(maxsplit=1)[:1] and rest.split()[0].isdecimal() for _, rest in pairs):
        cut = [(first, *rest.split(maxsplit=1), "") for first, rest in pairs]
        return [(first, int(label), (name or first).strip()) for first, label, name, *_ in cut]
    return [(first, label, rest or first) for label, (first, rest) in enumerate(pairs)]


def _rows_of_json(content: Any) -> list[tuple[str, int, str]]:
    if isinstance(content, list):
        return [(str(each), label, str(each)) for label, each in enumerate(content)]
    rows = []
    for key, value in content.items():
        if isinstance(value, int):
            rows.append((key, value, key))
        elif isinstance(value, str):
            rows.append((value, int(key), value))
        elif isinstance(value[0], int):
            rows.append((key, value[0], str(value[1])))
        else:
            rows.append((str(value[0]), int(key), str(value[1])))
    return rows
