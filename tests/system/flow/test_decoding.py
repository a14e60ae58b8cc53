from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from system.flow.block import Block
from system.flow.decoding import jacobi
from system.flow.decoding import token_by_token
from system.flow.flow import Flow
from system.flow.guidance import guide
from system.foundation.settings.evaluation import Sampler

LABEL = torch.tensor([1, 2])
GUIDED = guide(Sampler(guidance=1.3, guidance_rule="linear", guidance_ramp="linear"))


def noise_for(flow: Flow) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, flow.side**2, flow.token_width)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def deep(make_flow: Callable[..., Flow], family: dict[str, object]) -> tuple[Flow, Block]:
    """The deep block, which alone has a prefix where there is one."""
    flow = make_flow(side=4, **family)
    return flow, flow.blocks[-1]


@pytest.mark.parametrize("chunk", [1, 5, 16, 40])
@torch.no_grad()
def test_at_tolerance_zero_it_is_token_by_token(deep: tuple[Flow, Block], chunk: int) -> None:
    flow, block = deep
    noise, rotary = noise_for(flow), flow.rotary(noise_for(flow))
    steering = flow.steer(flow.condition(LABEL))[-1]
    expected = block.decoded(noise, steering, rotary)
    found = block.decoded(noise, steering, rotary, decode=jacobi(chunk, 0.0))
    torch.testing.assert_close(found.data, expected.data, rtol=0, atol=1e-12)
    steps = 16 - (block.start is None)
    assert expected.passes == steps
    assert -(-steps // chunk) <= found.passes <= steps


@torch.no_grad()
def test_guided_as_well(deep: tuple[Flow, Block]) -> None:
    """The ramp gives every token of a chunk a weight of its own."""
    flow, block = deep
    noise, rotary = noise_for(flow), flow.rotary(noise_for(flow))
    steered = flow.steer(flow.condition(LABEL))[-1]
    away = flow.steer(flow.null_condition(2))[-1]
    if not flow.shape.is_conditional:  # led away from another temperature, for want of a class
        one = noise.new_ones(2)
        steered, away = replace(steered, sharpness=one), replace(away, sharpness=2 * one)
    both = steered.beside(away)
    assert both.rows == 4
    expected = block.decoded(noise, both, rotary, GUIDED)
    found = block.decoded(noise, both, rotary, GUIDED, jacobi(5, 0.0))
    torch.testing.assert_close(found.data, expected.data, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_tolerance_saves_passes_and_bounds_what_is_lost(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(side=6)
    block, noise = flow.blocks[0], noise_for(flow)
    block.affine_out.weight.mul_(0.2)  # a token depends weakly on those before it
    steering = flow.steer(flow.condition(LABEL))[0]
    exact = block.decoded(noise, steering, flow.rotary(noise))
    passes = []
    for tolerance in (0.0, 1e-6, 1e-2):
        found = block.decoded(noise, steering, flow.rotary(noise), decode=jacobi(12, tolerance))
        # What a token is moved by is of the order of what those before it are off by.
        assert (found.data - exact.data).abs().max() <= max(10 * tolerance, 1e-12)
        passes.append(found.passes)
    assert exact.passes >= passes[0] > passes[1] > passes[2]


@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(side=4)
    block, noise = flow.blocks[1], noise_for(flow)
    noise[0] *= 5  # takes longer to settle than the other
    decode = jacobi(8, 1e-2)
    both = flow.steer(flow.condition(LABEL))[1]
    together = block.decoded(noise, both, flow.rotary(noise), decode=decode)
    for row in range(2):
        one = flow.steer(flow.condition(LABEL[row : row + 1]))[1]
        alone = block.decoded(noise[row : row + 1], one, flow.rotary(noise), decode=decode)
        torch.testing.assert_close(together.data[row : row + 1], alone.data, rtol=0, atol=1e-12)


@torch.no_grad()
def test_what_never_settles_takes_a_pass_per_token(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(side=4)
    block, noise = flow.blocks[0], noise_for(flow)
    noise[0, 3] = float("nan")
    steering = flow.steer(flow.condition(LABEL))[0]
    found = block.decoded(noise, steering, flow.rotary(noise), decode=jacobi(16, 1.0))
    assert found.passes == 16


def test_with_weights_in_bf16_tokens_stay_float32(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow().bfloat16()
    noise = noise_for(flow).float()
    steering = flow.steer(flow.condition(LABEL))[0]
    for decode in (token_by_token, jacobi(2, 0.0)):
        with torch.no_grad():
            found = flow.blocks[0].decoded(noise, steering, flow.rotary(noise), decode=decode)
        assert found.data.dtype == torch.float32
