"""Whether gradients reach each part that is trained, by the first weights of it.

A part's first weights get their gradient through all the rest of it: where none arrives there, the
part is dead, or what comes behind it is. The norms stay on the device until a report is due.
"""

from functools import partial

import torch
from torch import Tensor
from torch import nn


class GradientTaps:
    """Listens at the first matrix of each part whose weights are trained."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        self._norms: dict[str, Tensor] = {}
        first = {part: _first_of(module) for part, module in parts.items()}
        self._first = {part: weight for part, weight in first.items() if weight is not None}
        for part, weight in self._first.items():
            weight.register_hook(partial(self._note, part))

    def take(self) -> dict[str, Tensor]:
        """The norms of one pass, by metric; zero where nothing arrived."""
        taken, self._norms = self._norms, {}
        return {
            f"train/{part}_gradient": taken.get(part, torch.zeros((), device=weight.device))
            for part, weight in self._first.items()
        }

    def _note(self, part: str, gradient: Tensor) -> None:
        self._norms[part] = gradient.detach().float().norm()


def _first_of(module: nn.Module) -> nn.Parameter | None:
    trained = (weight for weight in module.parameters() if weight.requires_grad)
    # Under ZeRO-3 a weight has another shape while it is sharded.
    shaped = (weight for weight in trained if len(getattr(weight, "ds_shape", weight.shape)) > 1)
    return next(shaped, None)
