"""AdamW that also carries averages of the weights, as more state tensors beside its moments.

Being optimiser state, an average is sharded, saved and restored by ZeRO exactly like a moment: no
second copy of the model on any worker, and no code of ours that knows how weights are cut. There
is one for each decay.

    average = decay * average + (1 - decay) * weight,   average_0 = weight_0

Source: AdamW, arXiv 1711.05101; averaging as in Polyak & Juditsky 1992.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch import nn

from system.foundation.settings.engine import Adamw

DECAYS = "averaging_decays"  # the parameter group's key
DECAYED_MODULES = (nn.Linear, nn.Conv2d)


def average_key(which: int) -> str:
    """The state's key of an average, by the place of its decay."""
    return "average" if which == 0 else f"average_{which}"


class AveragingAdamw(torch.optim.AdamW):
    """AdamW with fused kernels whose state holds averaged weights too.

    Learning rate and `averaging_decays` are keys of every parameter group, zero and empty until
    they are set before each step. A parameter without a gradient is left alone, its averages
    included. An average that a restored state lacks begins with the weight as it is.
    """

    def __init__(self, groups: list[dict[str, object]], settings: Adamw) -> None:
        super().__init__(
            groups,
            lr=0.0,  # so that the trial step with which DeepSpeed may begin moves no weight
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            fused=True,
        )
        for group in self.param_groups:
            group.setdefault(DECAYS, ())

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Move the weights, then their averages."""
        # AdamW fills a state only while it is empty, so the start of an average waits outside.
        start = {
            (weight, average_key(which)): weight.detach().clone()
            for group in self.param_groups
            for weight in group["params"]
            for which in range(len(group[DECAYS]))
            if weight.grad is not None and average_key(which) not in self.state[weight]
        }
        loss = super().step(closure)
        for (weight, key), average in start.items():
            self.state[weight][key] = average
        for group in self.param_groups:
            moved = [weight for weight in group["params"] if weight.grad is not None]
            for which, decay in enumerate(group[DECAYS] if moved else ()):
                averages = [self.state[weight][average_key(which)] for weight in moved]
                torch._foreach_lerp_(averages, moved, 1 - decay)
        return loss


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """The trainable parameters in two groups: matrices, which decay, and the rest, which does not.

    Norms, biases, start tokens, positions and class vectors are the rest.
    """
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for part in module.modules():
        for weight in part.parameters(recurse=False):
            if not weight.requires_grad:
                continue
            decays = weight.ndim >= 2 and isinstance(part, DECAYED_MODULES)
            (matrices if decays else rest).append(weight)
    groups: list[dict[str, object]] = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
