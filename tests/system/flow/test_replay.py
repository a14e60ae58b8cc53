from collections.abc import Callable

import pytest
import torch

from system.flow.block import Block
from system.flow.decoding import Decoded
from system.flow.flow import Flow
from system.flow.guidance import guide
from system.flow.predictor import Predictor
from system.flow.replay import Step
from system.flow.replay import replayed
from system.foundation.settings.evaluation import Sampler
from system.layers.steering import Steering

LABEL = torch.tensor([1, 2])
GUIDED = guide(Sampler(guidance=1.3, guidance_rule="linear", guidance_ramp="linear"))


def cases(flow: Flow) -> tuple[torch.Tensor, list[tuple[Block, Steering]]]:
    """Noise, and each block with both classes of guidance, where it has them."""
    generator = torch.Generator().manual_seed(1)
    shape = (2, flow.side**2, flow.token_width)
    noise = torch.randn(shape, dtype=torch.float64, generator=generator)
    label = LABEL.to(next(flow.parameters()).device)
    wanted, away = flow.steer(flow.condition(label)), flow.steer(flow.null_condition(2))
    both = [one.beside(other) for one, other in zip(wanted, away, strict=True)]
    return noise, list(zip(flow.blocks, both, strict=True))


def stepwise(predict: Predictor, first: torch.Tensor, noise: torch.Tensor) -> Decoded:
    """The step of the graph, run as it is."""
    step = Step(predict, first, noise)
    for _ in range(predict.steps):
        step()
    return Decoded(step.data, predict.steps)


@torch.no_grad()
def test_a_step_of_fixed_shapes_is_that_of_the_growing_cache(
    make_flow: Callable[..., Flow], family: dict[str, object]
) -> None:
    flow = make_flow(side=3, **family)
    noise, blocks = cases(flow)
    for block, both in blocks:
        led = None if both.rows is None else GUIDED
        expected = block.decoded(noise, both, flow.rotary(noise), led)
        found = block.decoded(noise, both, flow.rotary(noise), led, stepwise)
        torch.testing.assert_close(found.data, expected.data, rtol=0, atol=1e-12)


def captured(predict: Predictor, first: torch.Tensor, noise: torch.Tensor) -> Decoded:
    return Decoded(replayed(predict, first, noise), predict.steps)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_a_replayed_graph_draws_what_the_step_does(
    make_flow: Callable[..., Flow], family: dict[str, object], dtype: torch.dtype
) -> None:
    flow = make_flow(side=4, **(family | {"width": 64, "head_width": 32}))
    flow = flow.to("cuda", dtype)
    noise, blocks = cases(flow)
    noise = noise.to("cuda", torch.float32)
    # One rounding of a weight's type in what a token is told moves those behind it as much.
    off = {torch.float32: 1e-4, torch.bfloat16: 0.1}[dtype]
    for block, both in blocks:
        led = None if both.rows is None else GUIDED
        rotary = flow.rotary(noise)
        expected = block.decoded(noise, both, rotary, led, stepwise)
        for _ in range(2):  # a graph leaves nothing behind that another would stumble over
            found = block.decoded(noise, both, rotary, led, captured)
            assert found.data.dtype == torch.float32
            torch.testing.assert_close(found.data, expected.data, rtol=0, atol=off)
