from collections.abc import Callable
from typing import Any

import pytest
import torch

from system.flow.density_classifier import bayes_logits
from system.flow.density_classifier import gradient_logits
from system.flow.flow import Flow
from system.foundation.errors import BadInput

EACH_CONDITION = pytest.mark.parametrize(
    "conditional",
    [
        {"condition": {"kind": "adaptive_norm", "ways": 6}},
        {"condition": {"kind": "adaptive_norm", "ways": 4}},
        {"condition": {"kind": "added"}, "positions": "learned", "first": "kept"},
        {"condition": {"kind": "added"}, "affine": "shift"},
        {"condition": {"kind": "prefix", "rotary_pairs": 2}, "scale": "softplus"},
    ],
    ids=["six_ways", "four_ways", "added", "added_shift", "prefix"],
)


def tokens(flow: Flow) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, flow.side**2, flow.token_width, dtype=torch.float64, generator=generator)


@EACH_CONDITION
def test_bayes_logits_are_the_likelihoods_of_each_class(
    make_flow: Callable[..., Flow], conditional: dict[str, Any]
) -> None:
    flow = make_flow(**conditional)
    data = tokens(flow)
    logits = bayes_logits(flow, data)
    assert logits.shape == (3, 4)
    for label in range(4):
        expected = flow.log_prob(data, flow.condition(torch.full((3,), label)))
        torch.testing.assert_close(logits[:, label], expected)


@EACH_CONDITION
def test_gradient_logits_are_finite_differences_of_the_likelihood(
    make_flow: Callable[..., Flow], conditional: dict[str, Any]
) -> None:
    """By the mixture's own formula, written out once more: the classes' columns alone are mixed."""
    flow = make_flow(**conditional)
    data, step = tokens(flow), 1e-5
    gradient = gradient_logits(flow, data)
    for label in range(4):
        logits = torch.zeros(4, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            logits[label] = sign * step
            shares = torch.zeros(3, flow.conditioner.columns, dtype=torch.float64)
            shares[:, :4] = logits.exp() / logits.exp().sum()
            ends.append(flow.log_prob(data, shares))
        # Central differences of a function of order one: error of order step squared.
        torch.testing.assert_close(
            gradient[:, label], (ends[0] - ends[1]) / (2 * step), rtol=0, atol=1e-7
        )


@EACH_CONDITION
def test_gradient_logits_sum_to_zero_and_leave_no_gradient_behind(
    make_flow: Callable[..., Flow], conditional: dict[str, Any]
) -> None:
    """A softmax does not change when all logits rise together."""
    flow = make_flow(**conditional)
    with torch.no_grad():
        gradient = gradient_logits(flow, tokens(flow))
    torch.testing.assert_close(gradient.sum(dim=1), torch.zeros(3).double(), rtol=0, atol=1e-12)
    assert all(parameter.grad is None for parameter in flow.parameters())


def test_a_flow_without_classes_is_refused(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(condition={"kind": "none"})
    for classify in (bayes_logits, gradient_logits):
        with pytest.raises(BadInput, match=r"flow\.condition\.kind=none"):
            classify(flow, tokens(flow))


def test_of_linear_classes_the_gradient_is_the_first_order_of_the_likelihoods(
    make_flow: Callable[..., Flow],
) -> None:
    """With classes a little apart, K times it is the logits less their mean, to second order."""
    flow = make_flow(condition={"kind": "added"})
    for vectors in flow.conditioner.vectors:
        vectors.table.data.mul_(1e-4)
    data = tokens(flow)
    bayes = bayes_logits(flow, data)
    torch.testing.assert_close(
        4 * gradient_logits(flow, data), bayes - bayes.mean(dim=1, keepdim=True), rtol=0, atol=1e-7
    )
