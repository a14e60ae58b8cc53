"""One block made ready to draw one batch: what is the same for every token is computed once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from system.flow.affine import Affine
from system.flow.affine import Guide
from system.layers.cache import Standing
from system.layers.continuation import Continuation


@dataclass(frozen=True, slots=True)
class Predictor:
    """Mean and spread of tokens, given those that it was asked about before.

    At step s it is told the token before the one that it then speaks of: token s - 1, or the start
    token, or with a first token that is kept, token s.
    """

    embed: Callable[[Tensor, Standing], Tensor]  # tokens as the transformer's input
    reader: Continuation
    head: Callable[[Tensor], Affine]  # of the transformer's output
    guide: Guide | None
    halves: int  # two where it is asked about the same tokens under two classes
    steps: int
    prefix: int  # places before the first step

    def __call__(
        self, before: Float[Tensor, "B t D"], standing: Standing, progress: float | Tensor
    ) -> Affine:
        """What is said of the tokens behind `before`, which stand there."""
        if self.halves > 1:
            before = torch.cat([before] * self.halves)
        affine = self.head(self.reader(self.embed(before, standing), standing))
        return affine if self.guide is None else self.guide(affine, progress)
