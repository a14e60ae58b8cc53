from collections.abc import Callable

import torch

from system.flow.block import Affine
from system.flow.flow import Flow
from system.flow.guidance import starflow
from system.flow.sampler import sample

LABEL = torch.tensor([0, 3])


def noise_for(flow: Flow) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, flow.side**2, flow.token_width, dtype=torch.float64, generator=generator)


def test_without_guidance_it_is_the_inverse(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    noise = noise_for(flow)
    drawn = sample(flow, noise, LABEL, 0.0)
    torch.testing.assert_close(flow(drawn, flow.condition(LABEL))[0], noise, rtol=0, atol=1e-12)


def test_guidance_of_nearly_nothing_changes_nearly_nothing(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    noise = noise_for(flow)
    torch.testing.assert_close(
        sample(flow, noise, LABEL, 1e-9), sample(flow, noise, LABEL, 0.0), rtol=0, atol=1e-7
    )


def test_guidance_acts_in_the_deep_block(make_flow: Callable[..., Flow]) -> None:
    """Against a slow version: no cache, the whole sequence anew for every token."""
    flow = make_flow()
    noise, weight = noise_for(flow), 1.3
    shallow, deep = flow.blocks
    steering = flow.steer(flow.condition(LABEL))
    null = flow.steer(flow.condition(LABEL, torch.tensor([True, True])))
    rotary = flow.rotary(noise)
    data = torch.zeros_like(noise)
    for place in range(noise.shape[1]):
        one, other = (deep.affine(data, way[-1], rotary) for way in (steering, null))
        joined = Affine(
            torch.cat([one.shift, other.shift]), torch.cat([one.log_scale, other.log_scale])
        )
        guided = starflow(weight, joined, 1.0)
        drawn = noise * guided.log_scale.exp() + guided.shift
        data[:, place] = drawn[:, place]
    expected = shallow.inverse(data, steering[0], rotary)
    torch.testing.assert_close(sample(flow, noise, LABEL, weight), expected, rtol=0, atol=1e-12)


def test_a_sample_does_not_depend_on_its_batch(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    noise = noise_for(flow)
    alone = sample(flow, noise[1:], LABEL[1:], 0.7)
    torch.testing.assert_close(sample(flow, noise, LABEL, 0.7)[1:], alone, rtol=0, atol=1e-12)
