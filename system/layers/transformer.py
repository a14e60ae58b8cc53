"""The transformer of a flow block: pre-norm layers whose norms are steered by the class.

Each layer turns the class vector into a shift, a scale and a gate for its attention and for its
perceptron. The gates start at zero, so a fresh stack passes its input through unchanged.

Source: adaptive layer norm of DiT, arXiv 2212.09748, section 3.2 (adaLN-Zero).
"""

from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from system.layers.attention import Cache
from system.layers.attention import CausalAttention
from system.layers.embedding import Rotary

MLP_RATIO = 4


class Layer(nn.Module):
    """One pre-norm transformer layer with adaptive norms."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.attention = CausalAttention(width, head_width)
        self.widen = nn.Linear(width, MLP_RATIO * width)
        self.narrow = nn.Linear(MLP_RATIO * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, hidden: Float[Tensor, "B T E"], condition: Float[Tensor, "B E"], rotary: Rotary
    ) -> Float[Tensor, "B T E"]:
        """All tokens at once."""
        shift, scale, gate, *perceptron = self._modulate(condition)
        hidden = hidden + gate * self.attention(_norm(hidden, shift, scale), rotary)
        return hidden + self._perceptron(hidden, *perceptron)

    def step(
        self, hidden: Tensor, condition: Tensor, rotary: Rotary, cache: Cache, place: int
    ) -> Tensor:
        """One token, given the cached ones before it."""
        shift, scale, gate, *perceptron = self._modulate(condition)
        attended = self.attention.step(_norm(hidden, shift, scale), rotary, cache, place)
        hidden = hidden + gate * attended
        return hidden + self._perceptron(hidden, *perceptron)

    def _modulate(self, condition: Tensor) -> list[Tensor]:
        return list(self.modulation(functional.silu(condition))[:, None].chunk(6, dim=-1))

    def _perceptron(self, hidden: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        wide = functional.gelu(self.widen(_norm(hidden, shift, scale)), approximate="tanh")
        return gate * self.narrow(wide)


def _norm(hidden: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return functional.layer_norm(hidden, hidden.shape[-1:], eps=1e-6) * (1 + scale) + shift


class Transformer(nn.Module):
    """A stack of layers."""

    def __init__(self, width: int, depth: int, head_width: int, *, recompute: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, head_width) for _ in range(depth))
        self.head_width = head_width
        self.recompute = recompute

    def forward(
        self, hidden: Float[Tensor, "B T E"], condition: Float[Tensor, "B E"], rotary: Rotary
    ) -> Float[Tensor, "B T E"]:
        """All tokens at once."""
        for layer in self.layers:
            if self.recompute and hidden.requires_grad:
                hidden = checkpoint(layer, hidden, condition, rotary, use_reentrant=False)
            else:
                hidden = layer(hidden, condition, rotary)
        return hidden

    def step(
        self, hidden: Tensor, condition: Tensor, rotary: Rotary, caches: list[Cache], place: int
    ) -> Tensor:
        """One token, given the cached ones before it."""
        for layer, cache in zip(self.layers, caches, strict=True):
            hidden = layer.step(hidden, condition, rotary, cache, place)
        return hidden

    def empty_caches(self, hidden: Float[Tensor, "B 1 E"], tokens: int) -> list[Cache]:
        """Room for `tokens` tokens in every layer."""
        return [
            Cache.empty(len(hidden), hidden.shape[-1] // self.head_width, tokens, hidden)
            for _ in self.layers
        ]
