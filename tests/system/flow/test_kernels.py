"""Which operations a flow's pass comes down to: their types and the shapes that they make."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from system.flow.flow import Flow

BATCH, SIDE, TOKEN_WIDTH = 2, 5, 3
TOKENS = SIDE**2
ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"
# Of the scales, their exponents and what attention sums up.
WIDE = {"exp", "log", "log1p", "softplus", ATTENTION}


class Seen(TorchDispatchMode):
    """Notes every operation's name, the types of its inputs and the shapes of its results."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[tuple[str, set[torch.dtype]]] = []
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        given = {each.dtype for each in tree_leaves(args) if isinstance(each, Tensor)}
        self.inputs.append((operation.overloadpacket.__name__, given))
        self.shapes |= {tuple(e.shape) for e in tree_leaves(result) if isinstance(e, Tensor)}
        return result


def passed(flow: Flow) -> Seen:
    """A pass forward and back."""
    tokens = torch.randn(BATCH, TOKENS, TOKEN_WIDTH, generator=torch.Generator().manual_seed(0))
    with Seen() as seen:
        condition = flow.condition(torch.tensor([0, 1]))
        flow.log_prob(tokens.requires_grad_(), condition).sum().backward()
    return seen


def test_no_mask_and_no_logits_are_made(
    make_flow: Callable[..., Flow], family: dict[str, object]
) -> None:
    """Fused attention keeps neither: nothing has as many rows as columns as there are tokens."""
    seen = passed(make_flow(side=SIDE, token_width=TOKEN_WIDTH, **family).float())
    assert any(name == ATTENTION for name, _ in seen.inputs)
    for count in (TOKENS, TOKENS + 1):  # a prefix is one more
        assert [shape for shape in seen.shapes if shape[-2:] == (count, count)] == []


def test_what_bf16_would_spoil_is_computed_in_float32(
    make_flow: Callable[..., Flow], family: dict[str, object]
) -> None:
    """Softmax, scales and their exponents, log-determinants, the density."""
    flow = make_flow(side=SIDE, token_width=TOKEN_WIDTH, **family).bfloat16()
    seen = passed(flow)
    narrow = {name for name, types in seen.inputs if name in WIDE and torch.bfloat16 in types}
    assert narrow == set()
    assert any(torch.bfloat16 in types for name, types in seen.inputs if name in ("mm", "addmm"))


def test_a_norm_under_bf16_is_rounded_once(stir) -> None:
    """Mean and spread are those of float32, however many numbers are summed."""
    hidden = 3 + torch.randn(64, 1152, generator=torch.Generator().manual_seed(0))
    narrow = functional.layer_norm(hidden.bfloat16(), (1152,))
    wide = functional.layer_norm(hidden.bfloat16().float(), (1152,))
    assert narrow.dtype == torch.bfloat16
    assert torch.equal(narrow, wide.bfloat16())


@pytest.mark.parametrize(("place", "other"), [(0, 1), (1, 0)])
def test_activations_of_the_named_blocks_alone_are_recomputed(
    make_flow: Callable[..., Flow], place: int, other: int
) -> None:
    flow = make_flow(
        side=SIDE, token_width=TOKEN_WIDTH, depths=(1, 1), checkpoint_activations=[place]
    )
    plain = make_flow(side=SIDE, token_width=TOKEN_WIDTH, depths=(1, 1))
    assert flow.blocks[place].transformer.recompute
    assert not flow.blocks[other].transformer.recompute
    seen, before = passed(flow), passed(plain)
    count = [sum(name == ATTENTION for name, _ in each.inputs) for each in (before, seen)]
    assert count == [2, 3]
    for one, same in zip(flow.parameters(), plain.parameters(), strict=True):
        assert (one.grad is None) == (same.grad is None)
        assert one.grad is None or torch.equal(one.grad, same.grad)
