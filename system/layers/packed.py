"""Linear layers for few rows at a time on the CPU, their weights laid out as oneDNN reads them.

Drawing multiplies the weights of a block by a handful of rows, token after token. Laid out in
blocks beforehand they pass through such a product in about 0.6 of the time (float32, 8 or 16 rows,
28 MB of weights, one core). Products come out the same up to the order of their sums.
"""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn

# Layers of the rehearsal's size lie in the core's own cache: nothing to be won, and the bits stay.
LEAST_BYTES = 4 * 2**20


class PackedLinear(nn.Module):
    """A linear layer that cannot be trained, for about `rows` rows at a time."""

    def __init__(self, linear: nn.Linear, rows: int) -> None:
        super().__init__()
        self._weight: Any = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)
        self._bias = linear.bias

    def forward(self, hidden: Float[Tensor, "*rows E"]) -> Float[Tensor, "*rows F"]:
        """As the layer that it was made of."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            hidden, self._weight, self._bias, "none", [], ""
        )
        return product


def packed(module: nn.Module, rows: int) -> nn.Module:
    """The module with packed linear layers; it shares all else, and is itself left as it is."""
    if isinstance(module, nn.Linear):
        return PackedLinear(module, rows)
    twin = copy.copy(module)
    children = {name: packed(child, rows) for name, child in module.named_children()}
    twin.__dict__["_modules"] = children
    return twin


def is_worth_packing(module: nn.Module) -> bool:
    """Whether it is large, in float32, on a CPU whose torch has oneDNN, and nothing learns."""
    weights = [each.weight for each in module.modules() if isinstance(each, nn.Linear)]
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    return (
        size >= LEAST_BYTES
        and all(weight.is_cpu and weight.dtype == torch.float32 for weight in weights)
        and torch.backends.mkldnn.is_available()
        and not torch.is_grad_enabled()
    )
