"""Classes as mixtures, and what a mixture of classes does to each block.

A label is a one-hot mixture. The null class, which labels are dropped to in training and guidance
leads away from, is the even mixture of all classes, or a class of its own behind the others where
the conditioner has one.
"""

from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.foundation.settings import flow as settings
from system.layers.embedding import ClassVectors
from system.layers.steering import Steering


class Conditioner(nn.Module):
    """Turns mixtures over `classes` into one Steering for each block."""

    def __init__(self, classes: int, blocks: int, *, own_null: bool) -> None:
        super().__init__()
        self.classes = classes
        self.blocks = blocks
        self.columns = classes + own_null
        self.own_null = own_null

    def null(self, like: Tensor) -> Float[Tensor, "V"]:
        """The null class as a mixture, in `like`'s type and made on its device: a list of numbers
        brought there would have the host wait for it."""
        if not self.own_null:
            return like.new_full((self.columns,), 1 / self.classes)
        null = like.new_zeros(self.columns)
        null[-1].fill_(1)
        return null

    def forward(self, mixture: Float[Tensor, "B V"]) -> tuple[Steering, ...]:
        """What the mixture does to each block, from the data side to the noise side."""
        return (Steering(),) * self.blocks


class SharedVectors(Conditioner):
    """One vector per class for the adaptive norms of all blocks. Source: DiT, arXiv 2212.09748."""

    def __init__(self, classes: int, blocks: int, width: int) -> None:
        super().__init__(classes, blocks, own_null=False)
        self.vectors = ClassVectors(classes, width, spread=0.02)

    def forward(self, mixture: Float[Tensor, "B V"]) -> tuple[Steering, ...]:
        """The same vector for every block."""
        return (Steering(norm=self.vectors(mixture)),) * self.blocks


class OwnVectors(Conditioner):
    """In each block one vector per class, added to every token. Source: TARFlow's released code."""

    def __init__(self, classes: int, blocks: int, width: int) -> None:
        super().__init__(classes, blocks, own_null=False)
        self.vectors = nn.ModuleList(
            ClassVectors(classes, width, spread=0.01) for _ in range(blocks)
        )

    def forward(self, mixture: Float[Tensor, "B V"]) -> tuple[Steering, ...]:
        """Each block's own vector."""
        return tuple(Steering(bias=vectors(mixture)) for vectors in self.vectors)


class PrefixToken(Conditioner):
    """A class token before the others, in the deep block alone; the null class is one of its own.

    Source: STARFlow's released code, its label conditioning: a linear map of the one-hot class.
    """

    def __init__(self, classes: int, blocks: int, width: int) -> None:
        super().__init__(classes, blocks, own_null=True)
        self.token = nn.Linear(self.columns, width)

    def forward(self, mixture: Float[Tensor, "B V"]) -> tuple[Steering, ...]:
        """A prefix of one token for the last block."""
        weight, bias = self.token.weight.to(mixture.dtype), self.token.bias.to(mixture.dtype)
        token = nn.functional.linear(mixture, weight, bias).to(self.token.weight.dtype)
        return (*(Steering(),) * (self.blocks - 1), Steering(prefix=token[:, None]))


def build_conditioner(shape: settings.Flow, classes: int) -> Conditioner:
    """The conditioner that the settings ask for."""
    blocks = len(shape.depths)
    match shape.condition:
        case settings.AdaptiveNorm():
            return SharedVectors(classes, blocks, shape.width)
        case settings.Added():
            return OwnVectors(classes, blocks, shape.width)
        case settings.Prefix():
            return PrefixToken(classes, blocks, shape.width)
        case settings.Unconditional():
            return Conditioner(classes, blocks, own_null=False)
