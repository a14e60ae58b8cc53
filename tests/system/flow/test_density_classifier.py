from collections.abc import Callable

import torch

from system.flow.density_classifier import bayes_logits
from system.flow.density_classifier import gradient_logits
from system.flow.flow import Flow


def tokens(flow: Flow) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, flow.side**2, flow.token_width, dtype=torch.float64, generator=generator)


def test_bayes_logits_are_the_likelihoods_of_each_class(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    data = tokens(flow)
    logits = bayes_logits(flow, data)
    assert logits.shape == (3, 4)
    for label in range(4):
        expected = flow.log_prob(data, flow.condition(torch.full((3,), label)))
        torch.testing.assert_close(logits[:, label], expected)


def test_gradient_logits_are_finite_differences_of_the_likelihood(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow()
    data, step = tokens(flow), 1e-5
    gradient = gradient_logits(flow, data)
    for label in range(4):
        logits = torch.zeros(4, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            logits[label] = sign * step
            ends.append(flow.log_prob(data, flow.mixture(logits.expand(3, -1))))
        # Central differences of a function of order one: error of order step squared.
        torch.testing.assert_close(
            gradient[:, label], (ends[0] - ends[1]) / (2 * step), rtol=0, atol=1e-7
        )


def test_gradient_logits_sum_to_zero_and_leave_no_gradient_behind(
    make_flow: Callable[..., Flow],
) -> None:
    """A softmax does not change when all logits rise together."""
    flow = make_flow()
    with torch.no_grad():
        gradient = gradient_logits(flow, tokens(flow))
    torch.testing.assert_close(gradient.sum(dim=1), torch.zeros(3).double(), rtol=0, atol=1e-12)
    assert all(parameter.grad is None for parameter in flow.parameters())
