"""The perceptron of a transformer layer: one hidden layer, with or without a gating twin.

Source: GELU, arXiv 1606.08415; gated forms, arXiv 2002.05202.
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

ACTIVATIONS = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
}
GATES = {
    "swiglu": functional.silu,
    "geglu": partial(functional.gelu, approximate="tanh"),  # what STARFlow's code calls swiglu
}


class Perceptron(nn.Module):
    """Widen, bend, narrow."""

    def __init__(self, width: int, hidden: int, kind: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[kind]
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, hidden: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        """Each token by itself."""
        return self.narrow(self.activation(self.widen(hidden)))


class GatedPerceptron(nn.Module):
    """Widen twice, one bent and multiplied onto the other, narrow."""

    def __init__(self, width: int, hidden: int, kind: str) -> None:
        super().__init__()
        self.activation = GATES[kind]
        self.gate = nn.Linear(width, hidden)
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, hidden: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        """Each token by itself."""
        return self.narrow(self.activation(self.gate(hidden)) * self.widen(hidden))


def perceptron(width: int, ratio: float, kind: str) -> nn.Module:
    """The perceptron of this kind, its hidden layer `ratio` times as wide."""
    hidden = round(width * ratio)
    if kind in GATES:
        return GatedPerceptron(width, hidden, kind)
    return Perceptron(width, hidden, kind)
