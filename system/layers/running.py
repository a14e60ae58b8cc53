"""Statistics of a whole batch, wherever its samples are."""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def workers() -> int:
    """How many workers there are: those of the process group, or one without it."""
    return dist.get_world_size() if dist.is_initialized() else 1


def mean_over_workers(value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The mean of every worker's `value`, the same on all; `value` itself in a world of one.

    All workers' losses send gradients to every worker's `value`, so all must go backward alike.
    """
    return _Mean.apply(value) if workers() > 1 else value


class _Mean(torch.autograd.Function):
    """A mean is linear and the same for all, so the gradient takes the same way back."""

    @staticmethod
    def forward(_context: object, value: Tensor) -> Tensor:
        return _mean(value)

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        return _mean(gradient)


def _mean(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / workers()
