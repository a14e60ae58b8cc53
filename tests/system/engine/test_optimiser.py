import pytest
import torch
from torch import nn

from system.engine.optimiser import DECAYS
from system.engine.optimiser import AveragingAdamw
from system.engine.optimiser import average_key
from system.engine.optimiser import parameter_groups
from system.foundation.settings.engine import Adamw
from system.layers.embedding import ClassVectors


def trained(decay: float, updates: int) -> tuple[nn.Linear, AveragingAdamw, list[torch.Tensor]]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimiser = AveragingAdamw(parameter_groups(layer, 0.1), Adamw())
    history = [layer.weight.detach().clone()]
    for group in optimiser.param_groups:
        group["lr"], group[DECAYS] = 0.1, [decay]
    for _ in range(updates):
        optimiser.zero_grad()
        layer(torch.ones(1, 3)).square().sum().backward()
        optimiser.step()
        history.append(layer.weight.detach().clone())
    return layer, optimiser, history


def test_the_average_starts_at_the_first_weights_and_follows() -> None:
    layer, optimiser, history = trained(decay=0.9, updates=3)
    expected = history[0]
    for weights in history[1:]:
        expected = 0.9 * expected + 0.1 * weights
    torch.testing.assert_close(optimiser.state[layer.weight][average_key(0)], expected)


def test_a_decay_of_zero_keeps_the_weights_themselves() -> None:
    layer, optimiser, history = trained(decay=0.0, updates=2)
    torch.testing.assert_close(optimiser.state[layer.weight][average_key(0)], history[-1])


def test_the_weights_move_as_in_plain_adamw() -> None:
    layer, _, _ = trained(decay=0.9, updates=3)
    torch.manual_seed(0)
    plain = nn.Linear(3, 2)
    groups = [{"params": [plain.weight], "weight_decay": 0.1}, {"params": [plain.bias]}]
    adamw = torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    for _ in range(3):
        adamw.zero_grad()
        plain(torch.ones(1, 3)).square().sum().backward()
        adamw.step()
    torch.testing.assert_close(layer.weight, plain.weight)
    torch.testing.assert_close(layer.bias, plain.bias)


def test_a_weight_without_a_gradient_has_no_state() -> None:
    layer = nn.Linear(2, 2)
    optimiser = AveragingAdamw(parameter_groups(layer, 0.0), Adamw())
    layer.weight.grad = torch.ones(2, 2)
    for group in optimiser.param_groups:
        group[DECAYS] = [0.9]
    optimiser.step()
    assert average_key(0) in optimiser.state[layer.weight]
    assert not optimiser.state[layer.bias]


def test_the_state_survives_saving() -> None:
    layer, optimiser, _ = trained(decay=0.9, updates=2)
    other = AveragingAdamw(parameter_groups(layer, 0.1), Adamw())
    other.load_state_dict(optimiser.state_dict())
    restored, saved = (each.state[layer.weight][average_key(0)] for each in (other, optimiser))
    assert torch.equal(restored, saved)


def test_an_average_that_a_state_lacks_begins_with_the_weight_as_it_is() -> None:
    layer, optimiser, history = trained(decay=0.9, updates=2)
    for group in optimiser.param_groups:
        group[DECAYS] = [0.9, 0.5]
    optimiser.zero_grad()
    layer(torch.ones(1, 3)).square().sum().backward()
    optimiser.step()
    expected = 0.5 * history[-1] + 0.5 * layer.weight
    torch.testing.assert_close(optimiser.state[layer.weight][average_key(1)], expected)


@pytest.mark.parametrize("frozen", [False, True])
def test_matrices_decay_and_the_rest_does_not(frozen: bool) -> None:
    parts = nn.ModuleDict(
        {
            "matrix": nn.Linear(2, 3),
            "kernel": nn.Conv2d(1, 2, 3),
            "norm": nn.GroupNorm(1, 2),
            "classes": ClassVectors(4, 2, spread=1.0),
            "words": nn.Embedding(4, 2),
        }
    )
    parts["kernel"].requires_grad_(not frozen)
    names = {weight: name for name, weight in parts.named_parameters()}
    matrices, rest = parameter_groups(parts, 0.1)
    kernels = set() if frozen else {"kernel.weight"}
    assert {names[w] for w in matrices["params"]} == {"matrix.weight"} | kernels
    assert matrices["weight_decay"] == 0.1
    assert rest["weight_decay"] == 0.0
    biases = {"matrix.bias"} | (set() if frozen else {"kernel.bias"})
    assert {names[w] for w in rest["params"]} == biases | {
        "norm.weight",
        "norm.bias",
        "classes.table",
        "words.weight",
    }


def test_a_step_before_the_learning_rate_is_set_moves_nothing() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    optimiser = AveragingAdamw(parameter_groups(layer, 0.5), Adamw())
    layer.weight.grad = torch.zeros(2, 2)
    optimiser.step()
    assert torch.equal(layer.weight, before)
    assert average_key(0) not in optimiser.state[layer.weight]


def test_an_empty_group_is_left_out() -> None:
    assert len(parameter_groups(nn.LayerNorm(3), 0.1)) == 1
