"""One pass of a block in place of several that compute the same and differ in their gradients.

The normal pass, the one over the block's cached input and the one that features are taken of have
the same values (see `strategies`). Where gradients go from there is what tells them apart:

| a gradient that arrives at                     | goes to weights, class | and to the input of |
| ---------------------------------------------- | ---------------------- | ------------------- |
| noise, log-determinant                         | yes                    | the normal pass     |
| shift and log scale, without history           | yes                    | none                |
| features, without history                      | yes                    | none                |
| features, with the history of what is generated | yes                   | that                |

So the block is computed once, over an input that is cut off from its history. What a gradient comes
to is linear in what arrives: all of it together goes to the weights in one backward pass, and each
input that is to learn of a part of it has that part led to it alone, which costs a third of a pass
and keeps no activation. A gradient differs from that of separate passes by rounding.

    shared = SharedPass({6})
    trace = flow.trace(tokens, condition, passes={7: shared})
    shared.affine, shared.features[6], shared.features_of(generated)[6]
"""

from collections.abc import Sequence
from collections.abc import Set
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from system.flow.affine import Affine
from system.flow.block import Block
from system.flow.block import BlockTrace
from system.layers.embedding import Rotary
from system.layers.steering import Steering

NORMAL = slice(0, 2)  # of a graph's outputs: noise and log-determinant
FEATURES = slice(4, None)  # behind shift and log scale


class SharedPass:
    """A block's pass, to be used once: the normal one, and what is asked of it beside.

    `affine` and `features` are what it did to tokens and said after as many layers as each of
    `taps` says, in raster order, with the history of the block's weights and of the class alone.
    """

    affine: Affine
    features: dict[int, Float[Tensor, "B T E"]]

    def __init__(self, taps: Set[int]) -> None:
        self._taps = frozenset(taps)
        self._graph: _Graph | None = None

    def __call__(
        self,
        block: Block,
        data: Float[Tensor, "B T D"],
        steering: Steering,
        rotary: Rotary | None,
        taps: Set[int] = frozenset(),
    ) -> BlockTrace:
        """`Block.trace`, but that features have no history of `data`."""
        taps = self._taps | taps
        given, cut_off = _learned(steering), data.detach().requires_grad_()
        leaves = {name: part.detach().requires_grad_() for name, part in given.items()}
        # As views: what counts a module's operations asks after each of its inputs, and autograd
        # cannot say of a leaf whether it is being led to.
        seen = {name: leaf.view_as(leaf) for name, leaf in leaves.items()}
        traced = block.trace(cut_off.view_as(cut_off), replace(steering, **seen), rotary, taps)
        weights = [weight for weight in block.parameters() if weight.requires_grad]
        outputs = (
            traced.noise, traced.log_det, traced.affine.shift, traced.affine.log_scale,
            *traced.features.values(),
        )  # fmt: skip
        self._graph = _Graph(cut_off, (*weights, *leaves.values()), outputs)
        noise, log_det, shift, log_scale, *found = _Once.apply(
            self._graph, data, *weights, *given.values()
        )
        affine, features = Affine(shift, log_scale), dict(zip(traced.features, found, strict=True))
        self.affine = Affine(block.ordering(affine.shift), block.ordering(affine.log_scale))
        self.features = features
        return BlockTrace(noise, log_det, features, affine)

    def features_of(self, data: Float[Tensor, "B T D"]) -> dict[int, Float[Tensor, "B T E"]]:
        """The features with the history of `data`, which equals the block's input, as well."""
        assert self._graph is not None, "the block has not been passed yet"
        found = _Again.apply(self._graph, data, *self.features.values())
        return dict(zip(self.features, found, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    """The one pass, from leaves of its own to all that is asked of it."""

    data: Tensor
    weights: tuple[Tensor, ...]  # of the block, then what stands for the class's vectors
    outputs: tuple[Tensor, ...]

    def gradients(
        self, which: slice, arrived: Sequence[Tensor | None], to: Sequence[Tensor], *, last: bool
    ) -> tuple[Tensor | None, ...]:
        """What arrived at the outputs of `which`, led to `to`; the `last` time lets go of it."""
        pairs = [
            (output, gradient)
            for output, gradient in zip(self.outputs[which], arrived, strict=True)
            if gradient is not None and output.requires_grad  # flows of shifts have no scale
        ]
        if not pairs or not to:
            return (None,) * len(to)
        outputs, given = zip(*pairs, strict=True)
        return torch.autograd.grad(outputs, to, given, retain_graph=not last, allow_unused=True)


class _Once(torch.autograd.Function):
    """The outputs of a graph; the weights get all gradients, the data those of the normal pass."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, data: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.graph = graph
        return tuple(output.detach() for output in graph.outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *arrived: Tensor | None) -> tuple[Tensor | None, ...]:
        graph: _Graph = ctx.graph
        to_data: tuple[Tensor | None, ...] = (None,)
        if ctx.needs_input_grad[1]:
            to_data = graph.gradients(NORMAL, arrived[NORMAL], [graph.data], last=False)
        return None, *to_data, *graph.gradients(slice(None), arrived, graph.weights, last=True)


class _Again(torch.autograd.Function):
    """Features of a graph as they are, whose gradients go to other data, too.

    They come from `_Once`, whose turn in a backward pass is therefore after this one's.
    """

    @staticmethod
    def forward(ctx: Any, graph: _Graph, data: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.graph = graph
        return tuple(each.view_as(each) for each in features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *arrived: Tensor | None) -> tuple[Tensor | None, ...]:
        graph: _Graph = ctx.graph
        to_data = graph.gradients(FEATURES, arrived, [graph.data], last=False)
        return None, *to_data, *arrived


def _learned(steering: Steering) -> dict[str, Tensor]:
    """The parts of a steering that a gradient leads on to."""
    parts = {field.name: getattr(steering, field.name) for field in fields(steering)}
    return {name: part for name, part in parts.items() if part is not None and part.requires_grad}
