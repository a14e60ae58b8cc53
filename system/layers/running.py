"""Statistics of a whole batch, wherever its samples are."""

import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def mean_over_workers(value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The mean of every worker's `value`, the same on all; `value` itself in a world of one."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
