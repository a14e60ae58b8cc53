"""The causal transformer of a flow block: pre-norm layers that a class may steer."""

from itertools import islice

from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.utils.checkpoint import checkpoint

from system.foundation.settings import flow as settings
from system.layers.attention import CausalAttention
from system.layers.embedding import Rotary
from system.layers.norm import AdaptiveNorms
from system.layers.norm import PlainNorms
from system.layers.perceptron import perceptron
from system.layers.steering import Steering


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, shape: settings.Flow) -> None:
        super().__init__()
        self.attention = CausalAttention(shape.width, shape.head_width)
        self.perceptron = perceptron(shape.width, shape.perceptron_ratio, shape.perceptron)
        if isinstance(shape.condition, settings.AdaptiveNorm):
            self.norms: nn.Module = AdaptiveNorms(shape.width, shape.condition.ways)
        else:
            self.norms = PlainNorms(shape.width)

    def forward(
        self, hidden: Float[Tensor, "B T E"], steering: Steering, rotary: Rotary | None
    ) -> Float[Tensor, "B T E"]:
        """All tokens at once."""
        attended, narrowed = self.norms(steering.norm)
        mixed = self.attention(attended(hidden), rotary, steering.sharpness)
        hidden = hidden + attended.gate * mixed
        return hidden + narrowed.gate * self.perceptron(narrowed(hidden))


class Transformer(nn.Module):
    """A stack of layers."""

    def __init__(self, shape: settings.Flow, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape) for _ in range(depth))
        self.heads = shape.width // shape.head_width
        self.recompute = False  # activations in the backward pass, rather than keep them

    def forward(
        self,
        hidden: Float[Tensor, "B T E"],
        steering: Steering,
        rotary: Rotary | None,
        depth: int | None = None,
    ) -> list[Float[Tensor, "B T E"]]:
        """All tokens at once: what comes in, then what each layer puts out, or the first `depth`
        of them."""
        stages = [hidden]
        for layer in islice(self.layers, depth):
            stages.append(self._through(layer, stages[-1], steering, rotary))
        return stages

    def _through(
        self, layer: nn.Module, hidden: Tensor, steering: Steering, rotary: Rotary | None
    ) -> Tensor:
        if self.recompute and hidden.requires_grad:
            return checkpoint(layer, hidden, steering, rotary, use_reentrant=False)
        return layer(hidden, steering, rotary)
