"""Both classifiers against slow ways, and where the density is a formula, against that."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import ModuleList
from torch.nn import functional

from system.evaluation.scores.accuracy import accuracy
from system.flow.conditioning import PrefixToken
from system.flow.density_classifier import bayes_logits
from system.flow.density_classifier import gradient_logits
from system.flow.flow import Flow
from system.foundation.errors import BadInput
from system.foundation.settings import flow as settings

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


CLASSES = 10


def linear_gaussian(vectors: torch.Tensor) -> Flow:
    """A flow of one token that is exactly x = W e_class + noise, W with orthonormal columns.

    Its layers add nothing, and its one block shifts alone, by a linear map of the class vector.
    """
    classes, width = vectors.shape
    shape = settings.Flow(
        width=width, depths=(1,), head_width=width, condition={"kind": "added"},
        positions="learned", affine="shift", norm_out="none", soft_clip=0,
    )  # fmt: skip
    flow = Flow(shape, side=1, token_width=width, classes=classes).double()
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(width, width, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.zero_()
        flow.blocks[0].affine_out.weight.copy_(torch.linalg.qr(noise).Q)
        flow.conditioner.vectors[0].table.copy_(vectors)
    return flow


def orthogonal(norms: torch.Tensor) -> torch.Tensor:
    """Class vectors along the axes, two dimensions being left to none of them."""
    return functional.pad(torch.diag(norms.double()), (0, 2))


def drawn(flow: Flow, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of the flow's own density, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(flow.classes, (count,), generator=generator)
    noise = torch.randn(count, 1, flow.token_width, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        return flow.inverse(noise, flow.condition(label)), label


def agreement(flow: Flow, data: torch.Tensor) -> float:
    return accuracy(gradient_logits(flow, data), bayes_logits(flow, data).argmax(dim=1))


def test_of_a_linear_gaussian_both_classifiers_are_their_closed_forms() -> None:
    vectors = orthogonal(torch.linspace(1, 9, CLASSES))
    flow = linear_gaussian(vectors)
    data, _ = drawn(flow, 50)
    seen = data[:, 0] @ flow.blocks[0].affine_out.weight  # what W's columns see of it
    mean = vectors.mean(dim=0)
    gradient = (seen - mean) @ (vectors - mean).T / CLASSES
    torch.testing.assert_close(gradient_logits(flow, data), gradient, rtol=0, atol=1e-12)
    constant = flow.token_width / 2 * math.log(2 * math.pi)
    likelihood = -0.5 * (seen[:, None] - vectors).square().sum(dim=2) - constant
    torch.testing.assert_close(bayes_logits(flow, data), likelihood, rtol=1e-12, atol=1e-12)


def test_equal_norms_are_told_apart_by_one_gradient_as_by_bayes() -> None:
    """All agree; and the accuracy is the integral of N(t; norm, 1) Phi(t)^(K - 1)."""
    flow = linear_gaussian(orthogonal(torch.full((CLASSES,), 2.0)))
    data, label = drawn(flow, 20_000)
    assert agreement(flow, data) == 1.0
    t = torch.linspace(-8, 12, 20_001, dtype=torch.float64)
    normal = torch.distributions.Normal(torch.tensor(0.0).double(), 1.0)
    exact = torch.trapezoid(normal.log_prob(t - 2).exp() * normal.cdf(t) ** (CLASSES - 1), t).item()
    assert exact == pytest.approx(0.6736, abs=5e-5)
    error = math.sqrt(exact * (1 - exact) / len(label))
    assert accuracy(gradient_logits(flow, data), label) == pytest.approx(exact, abs=3.5 * error)


def test_unequal_norms_cost_the_gradient_what_it_leaves_out() -> None:
    """It neglects |W (e_k - mean)|^2 / 2: Bayes is right more often, and they agree on 4 of 5."""
    flow = linear_gaussian(orthogonal(torch.linspace(1, 9, CLASSES)))
    data, label = drawn(flow, 20_000)
    bayes = accuracy(bayes_logits(flow, data), label)
    gradient = accuracy(gradient_logits(flow, data), label)
    assert bayes == pytest.approx(0.943, abs=0.01)
    assert gradient == pytest.approx(0.814, abs=0.015)
    assert agreement(flow, data) == pytest.approx(0.823, abs=0.015)


def test_what_is_left_out_shrinks_with_the_square_of_the_vectors() -> None:
    norms = torch.linspace(1, 9, CLASSES)
    residuals, agreements = [], []
    for scale in (1.0, 0.3, 0.1, 0.03):
        flow = linear_gaussian(scale * orthogonal(norms))
        data, _ = drawn(flow, 2000)
        bayes = bayes_logits(flow, data)
        left_out = CLASSES * gradient_logits(flow, data) - (bayes - bayes.mean(dim=1, keepdim=True))
        residuals.append(left_out.abs().max().item() / scale**2)
        agreements.append(agreement(flow, data))
    assert residuals == pytest.approx([residuals[0]] * 4, rel=1e-6)  # float64, over 0.03 squared
    assert residuals[0] > 1
    assert agreements[1:] == sorted(agreements[1:])
    assert agreements[-1] > 0.95


@EACH_CONDITION
def test_mixing_densities_in_place_of_vectors_gives_the_posterior(
    make_flow: Callable[..., Flow], conditional: dict[str, Any]
) -> None:
    """The gradient of log sum_k softmax(l)_k p(x | k) at zero is the posterior less 1 / K."""
    flow = make_flow(**conditional)
    bayes = bayes_logits(flow, tokens(flow))
    logits = torch.zeros_like(bayes, requires_grad=True)
    torch.logsumexp(logits.log_softmax(dim=1) + bayes, dim=1).sum().backward()
    expected = bayes.softmax(dim=1) - 1 / 4
    torch.testing.assert_close(logits.grad, expected, rtol=0, atol=1e-10)
    assert torch.equal(logits.grad.argmax(dim=1), bayes.argmax(dim=1))
    assert not torch.allclose(gradient_logits(flow, tokens(flow)), expected, atol=1e-3)


@EACH_CONDITION
def test_logits_that_rise_together_mix_the_same(
    make_flow: Callable[..., Flow], conditional: dict[str, Any]
) -> None:
    flow = make_flow(**conditional)
    data = tokens(flow)
    logits = torch.full((3, 4), 7.5, dtype=torch.float64, requires_grad=True)
    (raised,) = torch.autograd.grad(flow.log_prob(data, flow.mixture(logits)).sum(), logits)
    torch.testing.assert_close(raised, gradient_logits(flow, data), rtol=0, atol=1e-12)


def class_rows(flow: Flow) -> list[torch.Tensor]:
    """The weights that a class has one row (or column) of, classes first."""
    if isinstance(flow.conditioner, PrefixToken):
        return [flow.conditioner.token.weight.data.T]
    vectors = flow.conditioner.vectors
    return [one.table.data for one in (vectors if isinstance(vectors, ModuleList) else [vectors])]


@EACH_CONDITION
def test_classes_in_another_order_have_logits_in_that_order(
    make_flow: Callable[..., Flow], conditional: dict[str, Any]
) -> None:
    flow, order = make_flow(**conditional), torch.tensor([2, 0, 3, 1])
    data = tokens(flow)
    before = [classify(flow, data) for classify in (bayes_logits, gradient_logits)]
    for rows in class_rows(flow):
        rows[:4] = rows[order].clone()
    after = [classify(flow, data) for classify in (bayes_logits, gradient_logits)]
    assert not torch.allclose(before[1], after[1], atol=1e-3)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one[:, order], other, rtol=0, atol=1e-10)


@EACH_CONDITION
def test_classes_that_are_alike_cannot_be_told_apart(
    make_flow: Callable[..., Flow], conditional: dict[str, Any]
) -> None:
    flow = make_flow(**conditional)
    for rows in class_rows(flow):
        rows[:4] = rows[0].clone()
    found = gradient_logits(flow, tokens(flow))
    torch.testing.assert_close(found, torch.zeros(3, 4).double(), rtol=0, atol=1e-12)
