from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from system.flow.denoising import denoise
from system.flow.flow import Flow

SPREAD = 0.4
CENTRES = torch.tensor([[-1.0, 0.5], [0.8, 1.2], [0.1, -1.5]], dtype=torch.float64)
SHARES = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
WIDTHS = torch.tensor([0.3, 0.6, 0.1], dtype=torch.float64)  # of the clean components


def normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def joint_log_prob(noisy: Tensor) -> Tensor:
    """log p(component, noisy) of a Gaussian mixture with noise on it, `B 3`."""
    variance = WIDTHS**2 + SPREAD**2
    squares = (noisy[:, None] - CENTRES).square().sum(dim=2)
    return SHARES.log() - 0.5 * squares / variance - torch.log(2 * torch.pi * variance)


def mixture_log_prob(noisy: Tensor) -> Tensor:
    return joint_log_prob(noisy).logsumexp(dim=1)


def clean_given_noisy(noisy: Tensor) -> Tensor:
    """E[clean | noisy], from Bayes' rule: in each component a weighted mean, no gradient taken."""
    weight = WIDTHS**2 / (WIDTHS**2 + SPREAD**2)
    means = CENTRES + weight[:, None] * (noisy[:, None] - CENTRES)
    return (joint_log_prob(noisy).softmax(dim=1)[..., None] * means).sum(dim=1)


def test_a_whole_step_on_a_mixture_is_the_mean_of_what_was_there() -> None:
    noisy = 1.5 * normal(0, 40, 2)
    found = denoise(noisy, mixture_log_prob, spread=SPREAD)
    torch.testing.assert_close(found, clean_given_noisy(noisy), rtol=0, atol=1e-13)


def test_a_step_is_a_share_of_the_whole_one() -> None:
    noisy = normal(0, 5, 2)
    whole = denoise(noisy, mixture_log_prob, spread=SPREAD) - noisy
    part = denoise(noisy, mixture_log_prob, spread=SPREAD, step=0.3) - noisy
    torch.testing.assert_close(part, 0.3 * whole, rtol=1e-12, atol=0)
    assert torch.equal(denoise(noisy, mixture_log_prob, spread=SPREAD, step=0.0), noisy)


def test_the_whole_step_has_the_least_error() -> None:
    """Clean draws of the mixture, made noisy: no other step brings them back as well."""
    component = torch.tensor([0, 1, 1, 2, 1, 0, 2, 1, 2, 1]).repeat(200)
    clean = CENTRES[component] + WIDTHS[component, None] * normal(1, 2000, 2)
    noisy = clean + SPREAD * normal(2, 2000, 2)
    errors = {
        step: (denoise(noisy, mixture_log_prob, spread=SPREAD, step=step) - clean).square().mean()
        for step in (0.0, 0.5, 0.8, 1.0, 1.2, 1.5)
    }
    assert min(errors, key=lambda step: errors[step]) == 1.0


def test_it_works_within_no_grad_and_leaves_no_graph_behind() -> None:
    noisy = normal(0, 3, 2).requires_grad_()
    with torch.no_grad():
        found = denoise(noisy, mixture_log_prob, spread=SPREAD)
    assert not found.requires_grad
    assert not denoise(noisy, mixture_log_prob, spread=SPREAD).requires_grad


def test_a_fresh_flow_is_a_standard_gaussian_whose_score_is_known(
    make_flow: Callable[..., Flow], family: dict[str, Any]
) -> None:
    """N(0, 1) that is clean N(0, 1 - s^2) with noise of spread s: the mean is (1 - s^2) noisy."""
    flow = make_flow(**family)
    for block in flow.blocks:
        torch.nn.init.zeros_(block.affine_out.weight)
        torch.nn.init.zeros_(block.affine_out.bias)
    noisy = normal(3, 2, flow.side**2, flow.token_width)
    condition = flow.null_condition(2)
    found = denoise(noisy, lambda at: flow.log_prob(at, condition), spread=SPREAD)
    torch.testing.assert_close(found, (1 - SPREAD**2) * noisy, rtol=0, atol=1e-14)
    assert all(parameter.grad is None for parameter in flow.parameters())


def test_a_flows_step_follows_finite_differences_of_its_density(
    make_flow: Callable[..., Flow], family: dict[str, Any]
) -> None:
    flow, step = make_flow(**family), 1e-5
    noisy = normal(3, 2, flow.side**2, flow.token_width)
    flow.track_prior(4 * noisy)  # of flows of shifts, whose prior is their own
    condition = flow.condition(torch.tensor([0, 3]))
    moved = denoise(noisy, lambda at: flow.log_prob(at, condition), spread=SPREAD) - noisy
    for place, number in ((0, 1), (3, 2)):
        nudge = torch.zeros_like(noisy)
        nudge[:, place, number] = step
        ends = [flow.log_prob(noisy + sign * nudge, condition) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        # Central differences of a function of order ten: error of order step squared.
        torch.testing.assert_close(moved[:, place, number], SPREAD**2 * slope, rtol=0, atol=1e-7)
