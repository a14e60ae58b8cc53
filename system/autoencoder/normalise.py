"""Centre and width by which a latent is normalised, of each cell's channels or of the whole batch.

The map is affine and has no weights of its own: latent' = (latent - centre) / width. It keeps the
encoder from choosing a scale, so that the noise of a fixed spread cannot be outgrown (SimFlow), and
a loss that would rather have a small latent cannot have one (REPA-E).

Source: layer normalisation of the encoder's output in SimFlow, arXiv 2512.04084, figure 5; batch
normalisation without affine map, eps 1e-4 and momentum 0.1, in REPA-E, arXiv 2504.10483.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.layers.running import mean_over_workers
from system.layers.running import workers

CELL_EPS = 1e-5  # torch's default for layer normalisation
BATCH_EPS = 1e-4
MOMENTUM = 0.1


class Statistics(NamedTuple):
    """What is subtracted from a latent, and what it is divided by."""

    centre: Float[Tensor, "b c #h #w"]
    width: Float[Tensor, "b c #h #w"]


def cell_statistics(mean: Float[Tensor, "B C h w"]) -> Statistics:
    """Of the channels of each cell by itself."""
    variance, centre = torch.var_mean(mean, dim=1, keepdim=True, correction=0)
    return Statistics(centre, (variance + CELL_EPS).sqrt())


class BatchStatistics(nn.Module):
    """Of each channel over all cells of a pass on all workers, and those of the passes so far.

    What is remembered moves by a tenth with every training pass, and is the same on every worker.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def observe(
        self, mean: Float[Tensor, "B C h w"], std: Float[Tensor, "B C h w"] | None
    ) -> Statistics:
        """Of this batch, with gradients to every worker's share; the memory moves towards them.

        With `std` they are those of the posterior's draws, exactly rather than of one draw: the
        variance of the means, and the mean of the variances. Batches must be equal on all workers.
        """
        centre = mean_over_workers(mean.mean(dim=(0, 2, 3)))
        variance = (mean - _as_map(centre)).square().mean(dim=(0, 2, 3))
        if std is not None:
            variance = variance + std.square().mean(dim=(0, 2, 3))
        variance = mean_over_workers(variance)
        self._remember(centre.detach(), variance.detach(), workers() * mean[:, 0].numel())
        return self._statistics(centre, variance)

    def remembered(self) -> Statistics:
        """Of the training batches so far, the last ones foremost."""
        return self._statistics(self.running_mean, self.running_var)

    def _statistics(self, centre: Tensor, variance: Tensor) -> Statistics:
        return Statistics(_as_map(centre), _as_map((variance + BATCH_EPS).sqrt()))

    @torch.no_grad()
    def _remember(self, centre: Tensor, variance: Tensor, cells: int) -> None:
        fresh = torch.stack([centre, variance * (cells / max(cells - 1, 1))])
        # A pass that is not finite moves no weight; nor may it spoil what is remembered for good.
        # Chosen on the device: the host must not wait for it.
        sound = fresh.isfinite().all()
        for running, now in zip((self.running_mean, self.running_var), fresh, strict=True):
            running.copy_(
                torch.where(sound, running.lerp(now.to(running.dtype), MOMENTUM), running)
            )


def _as_map(value: Float[Tensor, "C"]) -> Float[Tensor, "1 C 1 1"]:
    return value[None, :, None, None]
