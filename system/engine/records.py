"""Records of tensors as flat tuples and back.

DeepSpeed hangs its hooks on the tensors that a module returns, and looks for them in tuples, lists
and dictionaries only; our modules return dataclasses.
"""

from collections.abc import Iterator
from dataclasses import fields
from dataclasses import is_dataclass
from dataclasses import replace
from typing import Any

from torch import Tensor


def tensors_in(record: Any) -> tuple[Tensor, ...]:
    """All tensors of nested dataclasses, tuples, lists and dictionaries, in their order."""
    if isinstance(record, Tensor):
        return (record,)
    return tuple(tensor for _, child in _children(record) for tensor in tensors_in(child))


def with_tensors(record: Any, tensors: Iterator[Tensor]) -> Any:
    """`record` with its tensors replaced, in the order of `tensors_in`."""
    if isinstance(record, Tensor):
        return next(tensors)
    children = {name: with_tensors(child, tensors) for name, child in _children(record)}
    if is_dataclass(record) and not isinstance(record, type):
        return replace(record, **children)
    if isinstance(record, dict):
        return children
    if isinstance(record, (tuple, list)):
        return type(record)(children.values())
    return record


def _children(record: Any) -> list[tuple[Any, Any]]:
    if is_dataclass(record) and not isinstance(record, type):
        return [(field.name, getattr(record, field.name)) for field in fields(record)]
    if isinstance(record, dict):
        return list(record.items())
    if isinstance(record, (tuple, list)):
        return list(enumerate(record))
    return []
