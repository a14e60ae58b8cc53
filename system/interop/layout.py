"""Tensors of another code base by name and shape, and the place of each in ours.

A layout lists every tensor that a file must hold. Reading one finds all that is unknown, missing or
misshapen before anything is used; a move reorders and negates, so that it is exact both ways.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor

from system.foundation.errors import CheckpointError
from system.interop.differences import differences
from system.interop.differences import listed
from system.interop.formats import MARKS
from system.interop.formats import looks_like


@dataclass(frozen=True, slots=True, eq=False)
class Reorder:
    """Rows (axis 0) or columns (axis 1) in another order, some of them negated."""

    order: Int[Tensor, "n"]  # ours[i] is theirs[order[i]]
    sign: Float[Tensor, "n"] | None = None  # ones and minus ones, of ours
    axis: int = 0

    def ours(self, theirs: Tensor) -> Tensor:
        """Their tensor in our order."""
        return self._signed(theirs.index_select(self.axis, self.order))

    def theirs(self, ours: Tensor) -> Tensor:
        """Our tensor in their order."""
        return self._signed(ours).index_select(self.axis, self.order.argsort())

    def _signed(self, ours: Tensor) -> Tensor:
        if self.sign is None:
            return ours
        sign = self.sign.to(ours.dtype)
        return ours * sign.view(-1, *[1] * (ours.ndim - 1 - self.axis))


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """A tensor that is a weight of ours under another name."""

    name: str  # theirs
    to: str  # ours
    shape: tuple[int, ...]  # theirs
    our_shape: tuple[int, ...] | None = None  # where it differs
    reorder: Reorder | None = None

    def ours(self, theirs: Tensor) -> Tensor:
        """Their tensor as ours."""
        seen = theirs if self.our_shape is None else theirs.reshape(self.our_shape)
        return (seen if self.reorder is None else self.reorder.ours(seen)).clone()

    def theirs(self, ours: Tensor) -> Tensor:
        """Our tensor as theirs."""
        seen = ours if self.reorder is None else self.reorder.theirs(ours)
        return seen.reshape(self.shape).clone()


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A tensor in which nothing is learned: it must be what it always is."""

    name: str
    shape: tuple[int, ...]
    value: Callable[[], Tensor]
    said: str  # what it always is, in words


Layout = Sequence[Moved | Fixed]
Explain = Callable[[str], str | None]  # why an unknown name cannot be ours, where that is known


def to_ours(
    layout: Layout, state: Mapping[str, Tensor], explain: Explain, *, kind: str, found: list[str]
) -> dict[str, Tensor]:
    """Our weights out of their tensors.

    Raises CheckpointError listing all that was `found` wrong before, and every tensor that is
    unknown, missing, misshapen, or not the constant it should be.
    """
    explained = {name: reason for name in state if (reason := explain(name)) is not None}
    problems = [*found, *_explanations(explained), *_flaws(layout, state, explained)]
    seen = looks_like(state)
    if problems and kind in MARKS and seen != f"they look like {kind}":
        problems.append(f"all in all, {seen}")
    refuse(problems, kind)
    return {entry.to: entry.ours(state[entry.name]) for entry in layout if isinstance(entry, Moved)}


def to_theirs(layout: Layout, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors out of our weights, which the layout was made for."""
    return {
        entry.name: entry.theirs(weights[entry.to]) if isinstance(entry, Moved) else entry.value()
        for entry in layout
    }


def refuse(problems: Sequence[str], kind: str) -> None:
    """Raise CheckpointError listing why tensors are not ones of `kind`, if there is a reason."""
    if problems:
        raise CheckpointError(
            f"these are not weights of {kind} that can be read: {_list(problems)}"
        )


def refuse_export(problems: Sequence[str], kind: str) -> None:
    """Raise CheckpointError listing why a flow has no form in `kind`, if there is a reason."""
    if problems:
        raise CheckpointError(f"this flow cannot be written for {kind}: {_list(problems)}")


def _list(problems: Sequence[str]) -> str:
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    return count + listed(list(problems))


def linear(
    theirs: str,
    ours: str,
    shape: tuple[int, int],
    *,
    rows: Reorder | None = None,
    columns: Reorder | None = None,
) -> Iterator[Moved]:
    """Weight and bias of a linear map whose rows (or columns) stand in another order."""
    yield Moved(f"{theirs}.weight", f"{ours}.weight", shape, reorder=rows or columns)
    yield Moved(f"{theirs}.bias", f"{ours}.bias", shape[:1], reorder=rows)


def layer_norm(theirs: str, ours: str, width: int) -> Iterator[Moved]:
    """Weight and bias of a layer norm."""
    yield Moved(f"{theirs}.weight", f"{ours}.weight", (width,))
    yield Moved(f"{theirs}.bias", f"{ours}.bias", (width,))


def ones(name: str, shape: tuple[int, ...]) -> Fixed:
    """A buffer of ones."""
    return Fixed(name, shape, lambda: torch.ones(shape), "all ones")


def zeros(name: str, shape: tuple[int, ...]) -> Fixed:
    """A buffer of zeros."""
    return Fixed(name, shape, lambda: torch.zeros(shape), "all zeros")


def causal_mask(name: str, tokens: int) -> Fixed:
    """A square of ones on and below the diagonal."""
    shape = (tokens, tokens)
    return Fixed(name, shape, lambda: torch.tril(torch.ones(shape)), "a causal mask")


def _explanations(explained: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{name}: {reason}" for name, reason in explained.items())


def _flaws(
    layout: Layout, state: Mapping[str, Tensor], explained: Mapping[str, str]
) -> Iterator[str]:
    """What is wrong with the tensors, besides those that are explained already."""
    expected = {entry.name: torch.Size(entry.shape) for entry in layout}
    yield from differences(
        expected, {name: value for name, value in state.items() if name not in explained}
    )
    for entry in layout:
        found = state.get(entry.name)
        if not isinstance(found, Tensor) or found.shape != entry.shape:
            continue
        if not found.is_floating_point():
            continue
        numbers = found.double()  # types of eight bits know no comparison
        if isinstance(entry, Fixed) and not torch.equal(numbers.cpu(), entry.value().double()):
            yield f"changed: {entry.name} holds other numbers, expected {entry.said}"
        elif not numbers.isfinite().all():
            yield f"not finite: {entry.name} holds numbers that are none"
