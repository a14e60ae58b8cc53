import math

import pytest
import torch

from system.foundation.nouns import Batch
from system.foundation.nouns import Posterior


def test_a_draw_is_the_mean_plus_the_spread_times_the_noise() -> None:
    mean = torch.randn(2, 3, 4, 4)
    noise = torch.randn(2, 3, 4, 4)
    one = Posterior(mean, torch.tensor(0.5))
    assert torch.equal(one.sample(noise), mean + 0.5 * noise)
    spread = torch.rand(2, 3, 4, 4)
    assert torch.equal(Posterior(mean, spread).sample(noise), mean + spread * noise)


def test_a_draw_carries_gradients_to_mean_and_spread() -> None:
    mean = torch.zeros(1, 1, 2, 2, requires_grad=True)
    std = torch.ones(1, 1, 2, 2, requires_grad=True)
    noise = torch.randn(1, 1, 2, 2)
    Posterior(mean, std).sample(noise).sum().backward()
    assert mean.grad is not None
    assert std.grad is not None
    assert torch.equal(mean.grad, torch.ones_like(mean))
    assert torch.equal(std.grad, noise)


def test_a_uniform_draw_has_the_posteriors_mean_and_spread() -> None:
    mean, noise = torch.zeros(1000, 1, 8, 8), torch.randn(1000, 1, 8, 8)
    drawn = Posterior(mean, torch.tensor(0.5), "uniform").sample(noise)
    # 64,000 draws: the standard error of the mean is 0.002, that of the spread 0.0009.
    assert drawn.mean().item() == pytest.approx(0, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.005)
    assert drawn.abs().max() <= 0.5 * math.sqrt(3) + 1e-6
    # More noise, no lower a draw: it is the quantile.
    assert (drawn.flatten()[noise.flatten().argsort()].diff() >= 0).all()


def test_the_parts_of_a_batch_belong_together() -> None:
    image = torch.zeros(2, 1, 8, 8)
    label = torch.tensor([1, 2])
    batch = Batch(image, label, torch.tensor([0, 1]), ("a", "b"))
    assert batch.key == ("a", "b")
    with pytest.raises(Exception, match="label"):
        Batch(image, torch.tensor([1, 2, 3]), torch.tensor([0, 1]), ("a", "b"))
