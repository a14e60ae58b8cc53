"""Counts of multiply-adds and of attention, the same for numbers and for shapes alone.

`torch.utils.flop_counter` has the formulas; what it lacks is the attention that the CPU has, and on
`meta` attention falls apart into products of whole matrices, which no device would keep. Here
attention on `meta` is the fused kernel of the device that is planned for.
"""

from collections.abc import Mapping
from typing import Any
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
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


class FusedAttention(TorchFunctionMode):
    """Attention of tensors on `meta` as the fused kernel of a kind of device."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self._kind = kind

    def __torch_function__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if function is functional.scaled_dot_product_attention and args[0].device.type == "meta":
            causal = bool(given.get("is_causal", False))
            assert given.get("attn_mask") is None, "none of our networks masks by a tensor"
            return self._fused(*args[:3], causal)
        return function(*args, **given)

    def _fused(self, query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
        dtype = query.dtype
        if self._kind == "cpu":  # layers.attention computes in float32 there
            wide = (each.float() for each in (query, key, value))
            kernel = aten._scaled_dot_product_flash_attention_for_cpu
            return kernel(*wide, 0.0, causal)[0].to(dtype)
        if dtype == torch.float32:
            kernel = aten._scaled_dot_product_efficient_attention
            return kernel(query, key, value, None, query.requires_grad, 0.0, causal)[0]
        return aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal)[0]


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)
