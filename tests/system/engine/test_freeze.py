import pytest
import torch
from torch import nn

from system.engine.freeze import frozen

# The critic's loss where its weights are frozen while the other module's loss crosses it; every
# stage must come to it.
STAGES = (1, 2, 3)


def test_gradients_flow_through_but_not_into() -> None:
    critic = nn.Linear(2, 1)
    given = torch.ones(1, 2, requires_grad=True)
    with frozen(critic):
        critic(given).sum().backward()
    assert given.grad is not None
    assert critic.weight.grad is None
    assert critic.weight.requires_grad


def test_what_was_frozen_before_stays_so_even_after_an_error() -> None:
    critic = nn.Linear(2, 1)
    critic.bias.requires_grad_(False)
    with pytest.raises(KeyError), frozen(critic):
        raise KeyError
    assert critic.weight.requires_grad
    assert not critic.bias.requires_grad


def test_with_the_rule_all_stages_agree(findings) -> None:
    with_rule = [findings[0][stage, "fp32"].leaks[True] for stage in STAGES]
    assert with_rule == pytest.approx([with_rule[0]] * 3, rel=1e-6)


def test_without_it_zero_1_leaks_in_silence(findings) -> None:
    leaks = findings[0][1, "fp32"].leaks
    assert leaks[False] != pytest.approx(leaks[True], rel=1e-3)


@pytest.mark.parametrize("stage", [2, 3])
def test_without_it_zero_2_and_3_fail_an_assertion(findings, stage) -> None:
    assert str(findings[0][stage, "fp32"].leaks[False]).startswith("AssertionError")
