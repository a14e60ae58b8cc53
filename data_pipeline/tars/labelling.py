"""How the image and the label of a sample are told from its members, and what labels may be."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from system.foundation import storage
from system.foundation.errors import DataError

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBERED = re.compile(r"(?P<label>[0-9]+)\s+(?P<name>\S.*)")


@dataclass(frozen=True, slots=True)
class Labelling:
    """The members that matter. A label is a number from 0 on, or the name of a class."""

    class_names: tuple[str, ...]
    image: str | None = None  # extension of the image; None: the one that is an image by name
    field: str | None = None  # of the `json` member; None: the whole `cls` member

    @property
    def extension(self) -> str:
        """The extension of the member that holds the label."""
        return "cls" if self.field is None else "json"

    def read(self, content: bytes) -> int:
        """The label in that member. Raises ValueError: what was found, and what was expected."""
        found = self._value(content)
        text = str(found).strip()
        if isinstance(found, int | str) and not isinstance(found, bool):
            if _WHOLE.fullmatch(text) and 0 <= int(text) < len(self.class_names):
                return int(text)
            if text in self.class_names:
                return self.class_names.index(text)
        raise ValueError(
            f"label {text[:40]!r}, expected a whole number from 0 to {len(self.class_names) - 1}"
            " or the name of a class; if it is right, `classes` or `class_names` are not"
        )

    def _value(self, content: bytes) -> Any:
        try:
            text = content.decode()
            if self.field is None:
                return text
            found = json.loads(text)
        except ValueError as problem:  # no UTF-8, or no JSON
            raise ValueError(f"label {content[:40]!r} ({problem})") from problem
        if not isinstance(found, dict) or self.field not in found:
            raise ValueError(f"no field {self.field!r} in {text[:80]}")
        return found[self.field]


def read_class_names(url: str) -> tuple[str, ...]:
    """The names in a file of one `NAME` or one `LABEL NAME` on each line, by label.

    Raises DataError where there is no such file, where a name comes twice, or where the labels are
    not 0 to n-1, each once.
    """
    try:
        text = storage.read_text(url)
    except FileNotFoundError as problem:
        raise DataError(f"{url}: no such file of class names.") from problem
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    names = dict(enumerate(lines))
    if all(numbered):
        names = {int(match["label"]): match["name"] for match in numbered if match is not None}
    if not lines or sorted(names) != list(range(len(lines))):
        raise DataError(
            f"{url}: {len(lines)} lines with {len(names)} labels {_some(sorted(names))}, expected "
            "one NAME, or one LABEL NAME with the labels 0 to n-1, on each line."
        )
    twice = [name for name in names.values() if [*names.values()].count(name) > 1]
    if twice:
        raise DataError(f"{url}: the class name {twice[0]!r} comes twice; expected each once.")
    return tuple(names[label] for label in range(len(names)))


def _some(labels: Sequence[int]) -> str:
    return ", ".join(map(str, labels[:5])) + (", …" if len(labels) > 5 else "")
