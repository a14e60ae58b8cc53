"""The page that `--help` prints: every key with its type, this recipe's value, and its meaning."""

import inspect
import textwrap
from collections.abc import Iterator

from pydantic import BaseModel

from system.foundation.keys import key
from system.foundation.keys import kinds
from system.foundation.yaml_tree import dump_inline

_WIDTH = 100
_COLUMN = 56
_INDENT = " " * 6


def render(record: BaseModel) -> str:
    """The page for a record: a paragraph for each record in it, `key=value`, type, meaning."""
    return "\n".join(_paragraph(record, "", {})).strip("\n") + "\n"


def _paragraph(
    record: BaseModel, prefix: str, variants: dict[str, type[BaseModel]]
) -> Iterator[str]:
    fields = type(record).model_fields
    own = [name for name in fields if not kinds(fields[name])]
    if own:
        title = f"{prefix[:-1]}: {_summary(type(record))}" if prefix else _summary(type(record))
        yield from ("", *textwrap.wrap(title, _WIDTH))
    lines = {name: f"  {prefix}{name}={_shown(record, name)}" for name in own}
    column = min(max(map(len, lines.values()), default=0), _COLUMN)
    for name, line in lines.items():
        described = key(fields[name], prefix + name)
        is_choice = name == "kind" and len(variants) > 1
        expects = " | ".join(variants) if is_choice else described.expects
        yield from _hanging(f"{line.ljust(column)}   {expects}", column + 3)
        yield from _wrapped(described.meaning)
    yield from _other_kinds(record, prefix, variants)
    for name in fields:
        below = getattr(record, name)
        if isinstance(below, BaseModel):
            yield from _paragraph(below, f"{prefix}{name}.", kinds(fields[name]))


def _other_kinds(
    record: BaseModel, prefix: str, variants: dict[str, type[BaseModel]]
) -> Iterator[str]:
    for kind, other in variants.items():
        if isinstance(record, other):
            continue
        keys = [name for name in other.model_fields if name != "kind"]
        offer = f"  or {prefix}kind={kind}" + (f" with {', '.join(keys)}" if keys else "")
        yield from textwrap.wrap(offer, _WIDTH, subsequent_indent=_INDENT)
        yield from _wrapped(_summary(other))


def _hanging(line: str, column: int) -> list[str]:
    """A line that is too long goes on below its last column."""
    return textwrap.wrap(
        line,
        _WIDTH,
        subsequent_indent=" " * column,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _shown(record: BaseModel, name: str) -> str:
    return dump_inline(record.model_dump(mode="json")[name])


def _summary(record: type[BaseModel]) -> str:
    """The first paragraph of the record's docstring, on one line."""
    return " ".join((inspect.getdoc(record) or record.__name__).split("\n\n")[0].split())
