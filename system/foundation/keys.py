"""What keys a record has: their types in words, meanings, defaults, and kinds where it may vary.

A field that may hold one of several records (a discriminated union) is told apart by its `kind`.
"""

import types
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated
from typing import Any
from typing import Literal
from typing import Union
from typing import get_args
from typing import get_origin

from annotated_types import Ge
from annotated_types import Gt
from annotated_types import Le
from annotated_types import Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

Record = type[BaseModel]

_WORDS: dict[Any, str] = {int: "whole number", float: "number", str: "text", bool: "true | false"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key that may be set: its full name, type in words, and meaning."""

    name: str
    expects: str
    meaning: str


def kinds(field: FieldInfo | None) -> dict[str, Record]:
    """The records a field may hold, by their kind; one record without variants has the kind ''."""
    if field is None:
        return {}
    records = [option for option in _options(field.annotation) if _is_record(option)]
    name = field.discriminator
    return {_tag(record, str(name)) if name is not None else "": record for record in records}


def default_kind(field: FieldInfo) -> str | None:
    """The kind a field's record has when nothing is said, or None where it must be said."""
    value = getattr(field.get_default(), "kind", None)
    records = kinds(field)
    if value is None and "" in records and "kind" in records[""].model_fields:
        value = records[""].model_fields["kind"].get_default()
    return value if isinstance(value, str) else None


def is_present_by_default(field: FieldInfo) -> bool:
    """Whether the field holds a record even when a recipe does not mention it."""
    return isinstance(field.get_default(), BaseModel) or (
        field.is_required() and "" in kinds(field)
    )


def record_at(field: FieldInfo, kind: object) -> Record | None:
    """The record class of a field whose section says this `kind`; None if there is no such."""
    records = kinds(field)
    return records.get(kind if isinstance(kind, str) else "", records.get(""))


def keys(record: Record, prefix: str = "") -> Iterator[Key]:
    """Every key below a record, those of all kinds included."""
    for name, field in record.model_fields.items():
        records = kinds(field)
        if not records:
            yield key(field, prefix + name)
            continue
        for each in records.values():
            yield from keys(each, f"{prefix}{name}.")


def key(field: FieldInfo, name: str) -> Key:
    """The description of one field that holds no record."""
    bounds = _bounds(field.metadata)
    return Key(name, _words(field.annotation) + bounds, field.description or "")


def locate(
    record: Record, location: Iterable[str | int]
) -> tuple[tuple[str | int, ...], FieldInfo | None]:
    """An error's location as keys alone, and the field there.

    pydantic puts the kind between a field that may hold several records and that record's keys, and
    after a field of several types the one that it tried.
    """
    path: list[str | int] = []
    field: FieldInfo | None = None
    current: Record | None = record
    tried: FieldInfo | None = None
    for part in location:
        if current is None and field is not None and part in kinds(field):
            current = kinds(field)[str(part)]
            continue
        if current is None and field is not None and field is not tried and _is_choice(field):
            tried = field
            continue
        path.append(part)
        if current is not None:
            field = current.model_fields.get(str(part))
            current = None if field is None else record_at(field, "")
    return tuple(path), field


def _tag(record: Record, discriminator: str) -> str:
    return str(get_args(record.model_fields[discriminator].annotation)[0])


def _is_choice(field: FieldInfo) -> bool:
    """Whether it holds no record but one of several types."""
    return not kinds(field) and len(_options(field.annotation)) > 1


def _is_record(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, BaseModel)


def _options(annotation: Any) -> list[Any]:
    """A union's members, or the annotation itself; without None and without metadata."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [each for member in get_args(annotation) for each in _options(member)]
    return [] if annotation is type(None) else [annotation]


def _words(annotation: Any) -> str:
    """A type in words: `whole number > 0`, `bf16 | fp32`, `list of whole number > 0`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0]) + _bounds(_flat(arguments[1:]))
    if origin is Literal:
        return " | ".join(str(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join("null" if each is type(None) else _words(each) for each in arguments)
    if origin in (tuple, list):
        items = [_words(each) for each in arguments if each is not Ellipsis]
        fixed = origin is tuple and Ellipsis not in arguments
        return f"list of ({', '.join(items)})" if fixed else f"list of {items[0]}"
    if origin is dict:
        return f"mapping of {_words(arguments[0])} to {_words(arguments[1])}"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _flat(metadata: Iterable[Any]) -> list[Any]:
    """`Annotated[int, Field(gt=0)]` inside another type keeps its bounds within the Field."""
    parts = list(metadata)
    return [
        inner
        for part in parts
        for inner in (part.metadata if isinstance(part, FieldInfo) else [part])
    ]


def _bounds(metadata: Iterable[Any]) -> str:
    bounds = []
    for part in metadata:
        if isinstance(part, Gt):
            bounds.append(f"> {part.gt}")
        elif isinstance(part, Ge):
            bounds.append(f">= {part.ge}")
        elif isinstance(part, Lt):
            bounds.append(f"< {part.lt}")
        elif isinstance(part, Le):
            bounds.append(f"<= {part.le}")
        elif getattr(part, "pattern", None):
            bounds.append(f"matching {part.pattern}")
    return (" " + " and ".join(bounds)) if bounds else ""
