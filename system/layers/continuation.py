"""A transformer that reads one batch on from where it stopped.

What does not change from token to token is there once: what the class does to the norms, positions,
room for keys and values.
"""

from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.layers.cache import Cache
from system.layers.cache import Standing
from system.layers.embedding import Rotary
from system.layers.norm import Norm
from system.layers.packed import is_worth_packing
from system.layers.packed import packed
from system.layers.steering import Steering
from system.layers.transformer import Transformer


class Continuation:
    """What a transformer says of tokens, given those that it was shown before."""

    def __init__(
        self,
        transformer: Transformer,
        steering: Steering,
        rotary: Rotary | None,
        *,
        rows: int,
        tokens: int,
    ) -> None:
        """For so many rows of a batch and tokens of a row; `rotary` is of all their places."""
        self._rotary = rotary
        self._sharpness = steering.sharpness
        self._layers: list[tuple[nn.Module, tuple[Norm, Norm], Cache]] = []
        is_packed = is_worth_packing(transformer)
        like = next(transformer.parameters())  # of the first product: E numbers wide
        for layer in transformer.layers:
            cache = Cache.empty(rows, transformer.heads, tokens, like)
            norms = layer.norms(steering.norm)
            self._layers.append((packed(layer, rows) if is_packed else layer, norms, cache))

    def __call__(
        self, hidden: Float[Tensor, "B t E"], standing: Standing
    ) -> Float[Tensor, "B t E"]:
        """The tokens that stand there, given those before them."""
        rotary = self._rotary
        if rotary is not None:
            rotary = Rotary(standing.of(rotary.cos), standing.of(rotary.sin))
        for layer, (attended, narrowed), cache in self._layers:
            mixed = layer.attention.extend(
                attended(hidden), rotary, self._sharpness, cache=cache, standing=standing
            )
            hidden = hidden + _gated(attended, mixed)
            hidden = hidden + _gated(narrowed, layer.perceptron(narrowed(hidden)))
        return hidden


def _gated(norm: Norm, computed: Tensor) -> Tensor:
    """What the gate lets through; one of one is no work."""
    return norm.gate * computed if isinstance(norm.gate, Tensor) else computed
