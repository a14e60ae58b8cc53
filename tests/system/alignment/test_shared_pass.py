"""Shared passes beside separate ones: the same values, and the same gradients wherever they go."""

from typing import Any

import pytest
import torch

from system.alignment.shared_pass import SharedPass
from system.alignment.strategies import aligned_features
from system.alignment.strategies import shared_features
from system.alignment.strategies import shared_passes
from system.flow.flow import Flow
from system.foundation.settings.objective import FeatureAlignment
from tests.system.alignment.test_strategies import DEPTHS
from tests.system.alignment.test_strategies import LABEL
from tests.system.alignment.test_strategies import PLACES
from tests.system.alignment.test_strategies import Make
from tests.system.alignment.test_strategies import chosen_places
from tests.system.alignment.test_strategies import score

SHARED = {
    "detach": ("detach", "paper"),
    "paper": ("reverse", "paper"),
    "straight_through": ("reverse", "straight_through"),
}
chosen_strategies = pytest.mark.parametrize("strategy", SHARED)


def settings_of(strategy: str, places: Any, passes: str) -> FeatureAlignment:
    name, reverse = SHARED[strategy]
    return FeatureAlignment(places=places, strategy=name, reverse=reverse, passes=passes)


def data_of(flow: Flow) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, flow.side**2, flow.token_width)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def step(
    flow: Flow, alignment: FeatureAlignment, *, likelihood: float = 1.0
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Features of a training step, and every gradient of its loss: of weights and of the tokens."""
    flow.zero_grad(set_to_none=True)
    tokens = data_of(flow)
    condition, blocks = flow.condition(LABEL), len(flow.blocks)
    passes = shared_passes(alignment, blocks)
    trace = flow.trace(tokens, condition, passes=passes)
    if passes:
        features = shared_features(alignment, passes, blocks, trace.noise)
    else:
        features = aligned_features(alignment, flow, trace, condition)
    nats = (trace.noise**2).sum() - trace.log_det.sum()
    (likelihood * nats + score(features)).backward()
    found = dict(flow.named_parameters()) | {"tokens": tokens}
    return list(features), {
        name: torch.zeros_like(each) if each.grad is None else each.grad
        for name, each in found.items()
    }


@chosen_strategies
@chosen_places
def test_features_and_all_gradients_are_those_of_separate_passes(
    make_flow: Make, family: dict[str, Any], strategy: str, places: Any
) -> None:
    flow = make_flow(**family, depths=DEPTHS)
    for likelihood in (1.0, 0.0):
        expected, wanted = step(
            flow, settings_of(strategy, places, "separate"), likelihood=likelihood
        )
        found, gradients = step(
            flow, settings_of(strategy, places, "shared"), likelihood=likelihood
        )
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
        largest = max(gradient.abs().max().item() for gradient in wanted.values())
        for name, gradient in wanted.items():
            torch.testing.assert_close(
                gradients[name], gradient, rtol=0, atol=1e-12 * largest, msg=name
            )


@chosen_strategies
def test_recomputed_activations_change_no_gradient(make_flow: Make, strategy: str) -> None:
    alignment = settings_of(strategy, PLACES["several"], "shared")
    plain = step(make_flow(depths=DEPTHS), alignment)[1]
    recomputed = step(make_flow(depths=DEPTHS, checkpoint_activations=True), alignment)[1]
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=0, atol=1e-10)


@chosen_strategies
def test_no_layer_is_computed_twice(make_flow: Make, strategy: str) -> None:
    flow = make_flow(depths=DEPTHS)
    run: list[str] = []
    for index, block in enumerate(flow.blocks):
        for number, layer in enumerate(block.transformer.layers, 1):
            layer.register_forward_hook(lambda *_, at=f"{index}.{number}": run.append(at))
    step(flow, settings_of(strategy, PLACES["several"], "shared"))
    assert run == ["0.1", "1.1", "1.2", "2.1", "2.2"]


def test_the_normal_pass_is_as_it_is_without(make_flow: Make, family: dict[str, Any]) -> None:
    """To the bit, up to the features' own gradients: values, and what the tokens learn."""
    flow = make_flow(**family, depths=DEPTHS)
    condition = flow.condition(LABEL)
    found = []
    for passes in ({}, {1: SharedPass({1}), 2: SharedPass({1, 2})}):
        tokens = data_of(flow)
        trace = flow.trace(tokens, condition, passes=passes)
        nats = (trace.noise**2).sum() - trace.log_det.sum()
        found.append((trace.noise, trace.log_det, *torch.autograd.grad(nats, tokens)))
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine, theirs)


def test_nothing_is_kept_where_no_gradient_is_wanted(make_flow: Make) -> None:
    flow = make_flow(depths=DEPTHS)
    shared = SharedPass({1})
    with torch.no_grad():
        trace = flow.trace(data_of(flow), flow.condition(LABEL), passes={2: shared})
        again = shared.features_of(trace.inputs[2])
    assert not trace.noise.requires_grad
    assert torch.equal(again[1], shared.features[1])


def test_features_of_the_shared_pass_do_not_lead_to_the_tokens(make_flow: Make) -> None:
    flow = make_flow(depths=DEPTHS)
    tokens, shared = data_of(flow), SharedPass({2})
    flow.trace(tokens, flow.condition(LABEL), passes={1: shared})
    (gradient,) = torch.autograd.grad(
        shared.features[2].sum() + shared.affine.shift.sum(), tokens, allow_unused=True
    )
    assert gradient is None or not gradient.any()


@pytest.mark.parametrize(
    ("strategy", "places", "expected"),
    [
        ("detach", ((0, 1), (2, 1)), {0, 2}),
        ("paper", ((0, 1), (-1, 1)), {0, 2}),
        ("straight_through", ((0, 1),), {0, 1, 2}),
        ("straight_through", ((-2, 2), (-1, 1)), {1, 2}),
    ],
)
def test_the_blocks_that_are_shared(strategy: str, places: Any, expected: set[int]) -> None:
    assert set(shared_passes(settings_of(strategy, places, "shared"), 3)) == expected
    assert shared_passes(settings_of(strategy, places, "separate"), 3) == {}


def test_the_forward_strategy_shares_its_pass_as_it_is() -> None:
    assert shared_passes(FeatureAlignment(strategy="forward", passes="shared"), 3) == {}
