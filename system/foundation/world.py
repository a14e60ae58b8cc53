"""Ranks as a record, and the few collectives that are no-ops for a world of one.

torch, which takes more than a second to import, is left to who first asks for a device or a sum:
a stream's decoding processes start meanwhile.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class World:
    """Where this process stands among the training workers."""

    rank: int = 0
    size: int = 1
    device_name: str = "cpu"  # as torch names it: cpu, cuda:0

    @property
    def device(self) -> "torch.device":
        """Where this worker computes."""
        import torch

        return torch.device(self.device_name)

    @property
    def is_first(self) -> bool:
        """Whether this is the worker that speaks for all."""
        return self.rank == 0

    def sum(self, value: "Tensor") -> "Tensor":
        """The sum over all workers, the same on each."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        total = value.clone()
        dist.all_reduce(total)
        return total

    def mean(self, value: "Tensor") -> "Tensor":
        """The mean over all workers, the same on each."""
        return self.sum(value) / self.size

    def largest(self, value: float) -> float:
        """The largest of all workers' values, the same on each."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        found = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return float(found)

    def broadcast(self, value: Any) -> Any:
        """Rank 0's (picklable, small) value, on every worker."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every worker's (picklable, small) value by rank, on every worker."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        box: list[Any] = [None] * self.size
        dist.all_gather_object(box, value)
        return box

    def barrier(self) -> None:
        """Wait for all workers."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()
