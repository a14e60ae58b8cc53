import torch
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.autoencoder.normalise import BATCH_EPS
from system.autoencoder.normalise import BatchStatistics
from system.autoencoder.normalise import Statistics
from system.autoencoder.normalise import cell_statistics
from system.foundation.world import World
from tests.gloo import run_workers


def normalised(latent: Tensor, statistics: Statistics) -> Tensor:
    return (latent - statistics.centre) / statistics.width


def batches(count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        2 + 3 * torch.randn(4, 3, 2, 2, generator=generator, dtype=torch.float64)
        for _ in range(count)
    ]


def test_statistics_of_a_cell_are_torchs_layer_norm() -> None:
    (latent,) = batches(1)
    expected = functional.layer_norm(latent.movedim(1, -1), (3,)).movedim(-1, 1)
    torch.testing.assert_close(normalised(latent, cell_statistics(latent)), expected)


def test_statistics_of_a_batch_are_torchs_batch_norm() -> None:
    ours = BatchStatistics(3).double()
    theirs = nn.BatchNorm2d(3, eps=1e-4, momentum=0.1, affine=False).double()
    for latent in batches():
        torch.testing.assert_close(normalised(latent, ours.observe(latent, None)), theirs(latent))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    theirs.eval()
    torch.testing.assert_close(normalised(latent, ours.remembered()), theirs(latent))


def test_with_a_spread_they_are_those_of_the_draws() -> None:
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(4000, 2, 4, 4, generator=generator)
    std = torch.rand(4000, 2, 4, 4, generator=generator)
    draws = mean + std * torch.randn(mean.shape, generator=generator)
    expected = (draws.var(dim=(0, 2, 3)) + BATCH_EPS).sqrt()
    found = BatchStatistics(2).observe(mean, std).width.flatten()
    # 64,000 cells give a standard deviation to 0.3 %; five of those.
    torch.testing.assert_close(found, expected, rtol=0.015, atol=0)


def test_a_batch_that_is_not_finite_is_not_remembered() -> None:
    statistics = BatchStatistics(3)
    statistics.observe(torch.full((2, 3, 2, 2), float("nan")), None)
    assert statistics.running_mean.tolist() == [0, 0, 0]
    assert statistics.running_var.tolist() == [1, 1, 1]


def share(world: World) -> dict[str, Tensor]:
    """One worker's part of the first batch: what it becomes, and the gradient of its own loss."""
    latent, weight = (
        batch.chunk(world.size)[world.rank].clone().requires_grad_(n == 0)
        for n, batch in enumerate(batches(2))
    )
    statistics = BatchStatistics(3).double()
    output = normalised(latent, statistics.observe(latent, None))
    (output * weight).square().sum().backward()
    return {"output": output.detach(), "grad": latent.grad} | dict(statistics.named_buffers())


def test_two_workers_normalise_as_one_does(tmp_path) -> None:
    whole = share(World())
    parts = run_workers(share, 2, tmp_path)
    for name in ("output", "grad"):
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), whole[name])
    for name in ("running_mean", "running_var"):
        assert torch.equal(parts[0][name], parts[1][name])
        torch.testing.assert_close(parts[0][name], whole[name])
