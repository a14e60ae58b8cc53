"""Counts of multiply-adds and of attention, the same for numbers and for shapes alone.

`torch.utils.flop_counter` has the formulas; what it lacks is the attention that the CPU has, and on
`meta` attention falls apart into products of whole matrices, which no device would keep. Here
attention on `meta` is the fused kernel of the device that is planned for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.flop_counter import sdpa_backward_flop_count
from torch.utils.flop_counter import sdpa_flop_count

Kind = Literal["cpu", "cuda"]

aten: Any = torch.ops.aten


def counter() -> FlopCounterMode:
    """A counter of floating-point operations, two for a multiply-add, that prints nothing.

    Causal attention counts as if nothing were masked, as the library counts it everywhere.
    """
    mapping = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=mapping)


@contextmanager
def fused_attention(kind: Kind) -> Iterator[None]:
    """Attention of tensors on `meta` is the fused kernel of a kind of device; others' is untouched.

    It takes the function's place, since a mode of torch's would not reach layers that are computed
    again on the way back.
    """
    original = functional.scaled_dot_product_attention

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *others: Any,
        is_causal: bool = False,
        **more: Any,
    ) -> Tensor:
        if query.device.type != "meta":
            return original(query, key, value, *others, **more | {"is_causal": is_causal})
        masks = [each for each in (*others[:1], more.get("attn_mask")) if each is not None]
        assert not masks, "none of our networks masks by a tensor"
        return _fused(kind, query, key, value, is_causal)

    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original


def _fused(kind: Kind, query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    dtype = query.dtype
    if kind == "cpu":  # layers.attention computes in float32 there
        wide = (each.float() for each in (query, key, value))
        mixed: Tensor = aten._scaled_dot_product_flash_attention_for_cpu(*wide, 0.0, causal)[0]
    elif dtype == torch.float32:
        kernel = aten._scaled_dot_product_efficient_attention
        mixed = kernel(query, key, value, None, query.requires_grad, 0.0, causal)[0]
    else:
        mixed = aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal)[0]
    return mixed.to(dtype)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)
