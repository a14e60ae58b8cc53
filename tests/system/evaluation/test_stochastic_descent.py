import pytest
import torch
from torch import nn

from system.evaluation.probe_classifiers import StochasticDescent
from system.evaluation.scores.accuracy import accuracy
from system.evaluation.stochastic_descent import _start
from system.evaluation.stochastic_descent import descend
from system.evaluation.stochastic_descent import descent_probe
from system.evaluation.stochastic_descent import schedule
from system.evaluation.stochastic_descent import trusted
from system.foundation import streams
from system.foundation.errors import NumericsError


def blobs(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Four overlapping clouds in six dimensions of unlike scale."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 4
    centres = torch.randn(4, 6, generator=torch.Generator().manual_seed(9))
    features = centres[label] + torch.randn(count, 6, generator=generator)
    return features * torch.tensor([1.0, 10.0, 0.1, 1.0, 1.0, 3.0]) + 5, label


@pytest.mark.parametrize("batch", [16, 64, 1000])
def test_a_training_is_that_of_torchs_own_parts(batch: int) -> None:
    """Batch norm, linear, cross-entropy and SGD with momentum as torch has them."""
    features, label = blobs(150)
    way = StochasticDescent(batch=batch)
    found = descend(features, label, rate=2.0, epochs=6, way=way, seed=1, classes=4)
    head = nn.Sequential(nn.BatchNorm1d(6, affine=False, eps=1e-6), nn.Linear(6, 4))
    head[1].weight.data, head[1].bias.data = _start(4, 6, 1), torch.zeros(4)
    optimiser = torch.optim.SGD(head.parameters(), lr=1.0, momentum=0.9)
    size = min(batch, 150)
    steps = 150 // size
    for epoch in range(6):
        order = torch.from_numpy(streams.generator(1, "probe/order", epoch).permutation(150))
        for step in range(steps):
            chosen = order[step * size : (step + 1) * size]
            optimiser.zero_grad()
            nn.functional.cross_entropy(head(features[chosen]), label[chosen]).backward()
            optimiser.param_groups[0]["lr"] = (
                2 * size / 256 * schedule((epoch + step / steps) / 6, 1 / 9)
            )
            optimiser.step()
    expected = head.eval()(features).detach().double()
    torch.testing.assert_close(found.logits(features), expected, rtol=0, atol=2e-4)  # float32


def test_lars_takes_steps_of_a_thousandth_of_the_weights() -> None:
    value, gradient = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 20.0])
    torch.testing.assert_close(trusted(value, gradient), torch.tensor([0.0, 0.005]))
    zero = torch.zeros(2)
    assert torch.equal(trusted(zero, gradient), gradient)
    assert torch.equal(trusted(value, zero), zero)
    features, label = blobs(100)
    one = StochasticDescent(optimiser="lars", batch=100, momentum=0.0)
    found = descend(features, label, rate=256 / 100, epochs=10, way=one, seed=0, classes=4)
    start = _start(4, 6, 0).double()
    rates = sum(schedule(epoch / 10, 1 / 9) for epoch in range(10))
    assert 0 < (found.weight - start).norm() / start.norm() <= 1.01e-3 * rates


def test_the_rate_rises_in_a_line_and_falls_by_a_cosine() -> None:
    assert schedule(0.0, 0.2) == 0
    assert schedule(0.1, 0.2) == pytest.approx(0.5)
    assert schedule(0.2, 0.2) == 1
    assert schedule(0.6, 0.2) == pytest.approx(0.5)
    assert schedule(1.0, 0.2) == pytest.approx(0)
    assert schedule(0.0, 0.0) == 1


def test_the_start_is_a_cut_normal_of_spread_a_hundredth() -> None:
    start = _start(100, 200, 0)
    assert start.abs().max() <= 0.02
    assert start.std().item() == pytest.approx(0.0088, rel=0.02)  # of a normal cut at two spreads
    assert torch.equal(start, _start(100, 200, 0))
    assert not torch.equal(start, _start(100, 200, 1))


@pytest.mark.parametrize("optimiser", ["momentum", "lars"])
def test_it_generalises_as_well_as_the_clouds_allow(optimiser: str) -> None:
    features, label = blobs(400)
    fresh, fresh_label = blobs(400, seed=1)
    rates = (0.1, 1.0) if optimiser == "momentum" else (30.0, 100.0)
    way = StochasticDescent(optimiser=optimiser, rates=rates, epochs=(40,), batch=64)
    found = descent_probe(features, label, classes=4, seed=0, way=way)
    assert 0.8 < accuracy(found.logits(fresh), fresh_label) <= 1
    assert found.chosen["learning_rate"] in rates
    assert found.chosen["epochs"] == 40


def test_it_is_a_function_of_its_input_and_of_the_seed() -> None:
    features, label = blobs(60)
    way = StochasticDescent(rates=(1.0,), epochs=(4,), batch=16)
    first, again, other = (
        descent_probe(features, label, classes=4, seed=seed, way=way) for seed in (0, 0, 1)
    )
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


def test_a_rate_that_diverges_is_passed_over_and_none_that_holds_is_an_error() -> None:
    features, label = blobs(60)
    way = StochasticDescent(rates=(1e300, 1.0), epochs=(4,), batch=16)
    found = descent_probe(features, label, classes=4, seed=0, way=way)
    assert found.chosen["learning_rate"] == 1.0
    with pytest.raises(NumericsError, match="smaller learning rates"):
        descent_probe(features * torch.inf, label, classes=4, seed=0, way=way)
