from collections.abc import Callable
from typing import Any

import pytest
import torch

from system.alignment.strategies import aligned_features
from system.alignment.strategies import forward_features
from system.alignment.strategies import places_of
from system.alignment.strategies import pseudo_reverse
from system.alignment.strategies import scale_gradient
from system.alignment.strategies import true_reverse
from system.flow.flow import Flow
from system.flow.flow import Trace
from system.foundation.settings import flow as settings
from system.foundation.settings.objective import FeatureAlignment
from tests.reference.reverse import reverse_with_detached_context

Make = Callable[..., Flow]
LABEL = torch.tensor([1, 2])
DEPTHS = (1, 2, 2)
PLACES = {
    "data_side": ((0, 1),),
    "middle": ((1, 1),),
    "noise_side": ((-1, 1),),
    "last_layer": ((1, 2),),
    "several": ((0, 1), (1, 2), (2, 1), (2, 2)),
}
chosen_places = pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)


def alignment(places: Any, strategy: str, reverse: str = "straight_through") -> FeatureAlignment:
    return FeatureAlignment(places=places, strategy=strategy, reverse=reverse)


def normal_pass(flow: Flow, places: Any = ()) -> tuple[Trace, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    kind = next(flow.parameters()).dtype
    shape = (2, flow.side**2, flow.token_width)
    tokens = torch.randn(shape, dtype=torch.float64, generator=generator).to(kind)
    condition = flow.condition(LABEL)
    taps = {(block % len(flow.blocks), layers) for block, layers in places}
    return flow.trace(tokens, condition, taps), condition


def score(features: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Any smooth number of features that no symmetry makes vanish."""
    generator = torch.Generator().manual_seed(2)
    return sum(
        (torch.randn(each.shape, dtype=each.dtype, generator=generator) * each.tanh()).sum()
        for each in features
    )


def gradients(flow: Flow, features: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    names, weights = zip(*flow.named_parameters(), strict=True)
    found = torch.autograd.grad(score(features), weights, allow_unused=True, retain_graph=True)
    return {
        name: torch.zeros_like(weight) if gradient is None else gradient
        for name, weight, gradient in zip(names, weights, found, strict=True)
    }


def reached(found: dict[str, torch.Tensor]) -> set[str]:
    """The blocks with a gradient that is not zero."""
    return {
        name.split(".")[1]
        for name, gradient in found.items()
        if name.startswith("blocks.") and gradient.abs().max() > 0
    }


def by(flow: Flow, strategy: str, reverse: str, places: Any) -> dict[str, torch.Tensor]:
    trace, condition = normal_pass(flow, places)
    chosen = alignment(places, strategy, reverse)
    return gradients(flow, aligned_features(chosen, flow, trace, condition))


@pytest.mark.parametrize(("kind", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_pseudo_reverse_latents_are_the_true_reverses(
    make_flow: Make, family: dict[str, Any], kind: torch.dtype, bound: float
) -> None:
    flow = make_flow(**family, depths=DEPTHS).to(kind)
    trace, condition = normal_pass(flow)
    steerings, expected = flow.steer(condition), trace.noise
    bound *= expected.abs().max().item()  # relative to the numbers on the way, 2 to 262
    inverted = []
    for block, steering in zip(reversed(flow.blocks), reversed(steerings), strict=True):
        expected = block.inverse(expected, steering, flow.rotary(expected))
        inverted.append(expected)
    for walk in (pseudo_reverse, true_reverse):
        for (index, data), other in zip(walk(flow, trace, steerings, 0), inverted, strict=True):
            assert data.dtype == kind
            torch.testing.assert_close(data, other, rtol=0, atol=bound)
            torch.testing.assert_close(data, trace.inputs[index], rtol=0, atol=bound)


@chosen_places
def test_all_strategies_see_the_same_values(
    make_flow: Make, family: dict[str, Any], places: Any
) -> None:
    flow = make_flow(**family, depths=DEPTHS)
    trace, condition = normal_pass(flow, places)
    expected = aligned_features(alignment(places, "forward"), flow, trace, condition)
    assert len(expected) == len(places)
    for strategy, reverse in (
        ("detach", "paper"),
        ("reverse", "paper"),
        ("reverse", "straight_through"),
        ("reverse", "exact"),
    ):
        chosen = alignment(places, strategy, reverse)
        for found, other in zip(
            aligned_features(chosen, flow, trace, condition), expected, strict=True
        ):
            torch.testing.assert_close(found, other, rtol=0, atol=1e-12)


@chosen_places
def test_straight_through_has_the_gradients_of_a_reverse_with_detached_context(
    make_flow: Make, family: dict[str, Any], places: Any
) -> None:
    flow = make_flow(**family, depths=DEPTHS)
    found = by(flow, "reverse", "straight_through", places)
    trace, condition = normal_pass(flow)
    inputs = reverse_with_detached_context(flow, trace.noise.detach(), condition)
    oracle = []
    for block, layers in places_of(alignment(places, "reverse"), 3):
        given = (inputs[block], flow.steer(condition)[block], flow.rotary(trace.noise))
        oracle.append(flow.blocks[block].features(*given, {layers})[layers])
    expected = gradients(flow, tuple(oracle))
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12 * largest, msg=name)


@chosen_places
def test_forward_has_the_gradients_of_the_normal_pass(
    make_flow: Make, family: dict[str, Any], places: Any
) -> None:
    flow = make_flow(**family, depths=DEPTHS)
    found = by(flow, "forward", "paper", places)
    trace, condition = normal_pass(flow)
    own = forward_features(
        flow, trace.inputs[0], condition, places_of(alignment(places, "forward"), 3)
    )
    expected = gradients(flow, tuple(own[block % 3, layers] for block, layers in places))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    ("strategy", "reverse", "expected"),
    [
        ("forward", "paper", {"0", "1"}),
        ("detach", "paper", {"1"}),
        ("reverse", "paper", {"1"}),
        ("reverse", "straight_through", {"1", "2"}),
        ("reverse", "exact", {"1", "2"}),
    ],
)
def test_blocks_nearer_the_noise_learn_from_reverse_and_those_nearer_the_data_from_forward(
    make_flow: Make, family: dict[str, Any], strategy: str, reverse: str, expected: set[str]
) -> None:
    flow = make_flow(**family, depths=DEPTHS)
    assert reached(by(flow, strategy, reverse, PLACES["middle"])) == expected


def test_paper_is_detach(make_flow: Make, family: dict[str, Any]) -> None:
    flow = make_flow(**family, depths=DEPTHS)
    detach, paper = (by(flow, *how, PLACES["several"]) for how in DETACHED)
    assert all(torch.equal(detach[name], paper[name]) for name in detach)


DETACHED = (("detach", "exact"), ("reverse", "paper"))


def cosine(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    left, right = (torch.cat([g.flatten() for g in each.values()]) for each in (one, other))
    return (left @ right / left.norm() / right.norm()).item()


@chosen_places
def test_straight_through_is_not_detach_and_points_where_exact_does(
    make_flow: Make, family: dict[str, Any], places: Any
) -> None:
    """On flows half as stirred as the others: what context adds is small there."""
    flow = make_flow(**family, depths=DEPTHS)
    fresh = settings.Flow(**({"width": 16, "depths": DEPTHS, "head_width": 8} | family))
    torch.manual_seed(0)
    start = Flow(fresh, side=2, token_width=3, classes=4).double()
    with torch.no_grad():
        for weight, first in zip(flow.parameters(), start.parameters(), strict=True):
            weight.lerp_(first, 0.5)
    exact = by(flow, "reverse", "exact", places)
    straight = by(flow, "reverse", "straight_through", places)
    detach = by(flow, "detach", "paper", places)
    assert cosine(straight, exact) > 0.95
    assert cosine(detach, exact) < 0.98


def test_no_strategy_but_forward_keeps_a_history_of_the_tokens(
    make_flow: Make, family: dict[str, Any]
) -> None:
    flow = make_flow(**family, depths=DEPTHS).requires_grad_(False)
    places = PLACES["several"]
    tokens = normal_pass(flow)[0].inputs[0].requires_grad_()
    condition = flow.condition(LABEL)
    trace = flow.trace(tokens, condition, set(places))
    for strategy, reverse, is_kept in (
        ("forward", "paper", True),
        ("detach", "paper", False),
        ("reverse", "straight_through", False),
        ("reverse", "exact", False),
    ):
        chosen = alignment(places, strategy, reverse)
        features = aligned_features(chosen, flow, trace, condition)
        assert {each.requires_grad for each in features} == {is_kept}


def test_no_pass_goes_deeper_than_its_places(make_flow: Make) -> None:
    flow = make_flow(depths=DEPTHS)
    trace, condition = normal_pass(flow)
    run: list[str] = []
    for index, block in enumerate(flow.blocks):
        for number, layer in enumerate(block.transformer.layers, 1):
            layer.register_forward_hook(lambda *_, at=f"{index}.{number}": run.append(at))
    for strategy, reverse, expected in (
        ("forward", "paper", []),
        ("detach", "paper", ["1.1"]),
        ("reverse", "paper", ["1.1"]),
        ("reverse", "straight_through", ["2.1", "2.2", "1.1", "1.2", "1.1"]),
    ):
        run.clear()
        places = PLACES["middle"]
        if strategy == "forward":
            continue
        aligned_features(alignment(places, strategy, reverse), flow, trace, condition)
        assert run == expected, strategy
    run.clear()
    forward_features(flow, trace.inputs[0], condition, [(1, 1)])
    assert run == ["0.1", "1.1"]


@pytest.mark.parametrize("reverse", ["straight_through", "exact"])
def test_recomputed_activations_change_no_gradient(make_flow: Make, reverse: str) -> None:
    places = PLACES["several"]
    plain = by(make_flow(depths=DEPTHS), "reverse", reverse, places)
    recomputed = by(
        make_flow(depths=DEPTHS, checkpoint_activations=True), "reverse", reverse, places
    )
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=0, atol=1e-12)


def test_a_scaled_gradient_leaves_the_values() -> None:
    given = torch.randn(2, 3, 4, requires_grad=True)
    for factor in (0.0, 1.0, 3.0):
        scaled = scale_gradient(given, factor)
        assert torch.equal(scaled, given)
        if factor:
            (gradient,) = torch.autograd.grad(scaled.square().sum(), given)
            torch.testing.assert_close(gradient, factor * 2 * given.detach())
        else:
            assert not scaled.requires_grad
