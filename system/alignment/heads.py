"""Small perceptrons that lead from the flow's width to the teacher's.

They belong to the trained model, not to the flow: drawing and scoring do without them.

Source: REPA, arXiv 2410.06940, its projector (linear, SiLU, linear, SiLU, linear).
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.foundation.settings.objective import FeatureAlignment


class ProjectionHeads(nn.Module):
    """One head for all places, or one for each, as the settings say."""

    def __init__(self, alignment: FeatureAlignment, width: int) -> None:
        super().__init__()
        count = 1 if alignment.heads == "shared" else len(alignment.places)
        self.heads = nn.ModuleList(_head(alignment, width) for _ in range(count))

    def forward(
        self, features: tuple[Float[Tensor, "B T E"], ...]
    ) -> tuple[Float[Tensor, "B T F"], ...]:
        """The features of every place, projected; in the type of the weights."""
        features = tuple(each.to(next(self.parameters()).dtype) for each in features)
        if len(self.heads) == 1:  # in one call: ZeRO-3 gathers a module's weights once a call
            return self.heads[0](torch.cat(features)).chunk(len(features))
        return tuple(head(each) for head, each in zip(self.heads, features, strict=True))


def _head(alignment: FeatureAlignment, width: int) -> nn.Sequential:
    widths = [width, *[alignment.head_width] * (alignment.head_layers - 1), alignment.teacher.width]
    layers: list[nn.Module] = []
    for given, made in pairwise(widths):
        layers += [nn.Linear(given, made), nn.SiLU()]
    return nn.Sequential(*layers[:-1])
