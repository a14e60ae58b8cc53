"""A flow as it crosses between code bases: its form, the grid it is for, and its weights."""

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from system.flow.flow import Flow
from system.foundation.settings import flow as settings


@dataclass(frozen=True, slots=True)
class Grid:
    """How tokens lie on an image or latent: `side` by `side`, each `patch` by `patch` cells."""

    side: int
    patch: int
    channels: int


@dataclass(frozen=True, slots=True, eq=False)
class FlowWeights:
    """What `system.flow.Flow` is built from, and its state dict."""

    shape: settings.Flow
    side: int  # tokens on a side
    channels: int  # of the image or latent
    classes: int
    weights: dict[str, Tensor]

    @property
    def size(self) -> int:
        """Side of the image or latent grid, in cells."""
        return self.side * self.shape.patch

    @property
    def grid(self) -> Grid:
        """How its tokens lie."""
        return Grid(self.side, self.shape.patch, self.channels)

    @property
    def token_width(self) -> int:
        """Numbers per token."""
        return self.channels * self.shape.patch**2

    def build(self) -> Flow:
        """The flow itself, in the widest type of its weights."""
        flow = Flow(self.shape, side=self.side, token_width=self.token_width, classes=self.classes)
        dtypes = (weight.dtype for weight in self.weights.values())
        flow.to(reduce(torch.promote_types, dtypes)).load_state_dict(self.weights)
        return flow


def grid_of(tokens: int, token_width: int, *, size: int | None, channels: int | None) -> Grid:
    """The grid of so many tokens, from the image's (or latent's) side, or from its channels: a file
    of weights knows neither. Raises ValueError saying what does not fit.
    """
    side = math.isqrt(tokens)
    if side**2 != tokens:
        raise ValueError(f"{tokens} tokens do not fill a square grid")
    if size is None and channels is None:
        raise ValueError(
            f"tokens of {token_width} numbers on a grid of {side} by {side}: the weights do not "
            "say how large a patch is; give channels (of the image or latent) or size (its side)"
        )
    if size is not None:
        patch = size // side
        found = token_width // patch**2 if patch else 0
    else:
        found = channels or 0
        patch = math.isqrt(token_width // found) if found > 0 else 0
    asked = {"size": size, "channels": channels}
    is_as_asked = size in (None, side * patch) and channels in (None, found)
    if found * patch**2 != token_width or not is_as_asked:
        said = " and ".join(f"{name} {value}" for name, value in asked.items() if value is not None)
        raise ValueError(
            f"tokens of {token_width} numbers on a grid of {side} by {side} do not fit {said}"
        )
    return Grid(side, patch, found)
