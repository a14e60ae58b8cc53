from collections.abc import Callable
from typing import Any

import pytest
import torch

from system.flow.affine import Affine
from system.flow.flow import Flow
from system.flow.guidance import RULES
from system.flow.sampler import draw
from system.flow.sampler import sample
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import Sampler
from system.layers.steering import Steering

LABEL = torch.tensor([0, 3])
UNGUIDED = Sampler(guidance=0.0)
TARFLOW = {
    "condition": {"kind": "added"},
    "positions": "learned",
    "first": "kept",
    "raster": "data_side",
    "soft_clip": 0.0,
    "norm_out": "none",
}


def noise_for(flow: Flow) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, flow.side**2, flow.token_width, dtype=torch.float64, generator=generator)


def slowly(
    flow: Flow, noise: torch.Tensor, label: torch.Tensor | None, settings: Sampler
) -> torch.Tensor:
    """Without a cache: the whole sequence anew for every token, both halves by themselves."""
    null = flow.steer(flow.null_condition(2))
    wanted = null if label is None else flow.steer(flow.condition(label))
    if settings.guidance_against == "temperature":
        sharpness = torch.full((2,), 1 / settings.attention_temperature, dtype=torch.float64)
        null = tuple(Steering(s.norm, s.bias, s.prefix, sharpness) for s in null)
    tokens, rotary = settings.temperature * flow.to_prior(noise), flow.rotary(noise)
    for index in reversed(range(len(flow.blocks))):
        block = flow.blocks[index]
        guided = settings.guidance > 0 and (
            settings.guidance_blocks == "all" or index == len(flow.blocks) - 1
        )
        data = block.ordering(tokens).clone()
        kept, count = int(block.start is None), tokens.shape[1]
        for place in range(kept, count):
            one = block.affine(block.ordering(data), wanted[index], rotary)
            if guided:
                other = block.affine(block.ordering(data), null[index], rotary)
                weight = settings.guidance
                if settings.guidance_ramp == "linear":
                    weight *= (place + 1 - kept) / (count - kept)
                joined = Affine(
                    torch.cat([one.shift, other.shift]), torch.cat([one.log_scale, other.log_scale])
                )
                one = RULES[settings.guidance_rule](weight, joined)
            drawn = block.ordering(tokens) * block.ordering(one.log_scale).exp()
            data[:, place] = (drawn + block.ordering(one.shift))[:, place]
        tokens = block.ordering(data)
    return tokens


def test_without_guidance_it_is_the_inverse(
    make_flow: Callable[..., Flow], family: dict[str, Any]
) -> None:
    flow = make_flow(**family)
    noise = noise_for(flow)
    for label in (LABEL, None):
        drawn = sample(flow, noise, label, UNGUIDED)
        condition = flow.null_condition(2) if label is None else flow.condition(label)
        torch.testing.assert_close(flow(drawn, condition)[0], noise, rtol=0, atol=1e-12)


def test_guidance_of_nearly_nothing_changes_nearly_nothing(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    noise = noise_for(flow)
    for rule in RULES:
        nearly = Sampler(guidance=1e-9, guidance_rule=rule)
        torch.testing.assert_close(
            sample(flow, noise, LABEL, nearly),
            sample(flow, noise, LABEL, UNGUIDED),
            rtol=0,
            atol=1e-7,
        )


WAYS: list[dict[str, Any]] = [
    {},
    {"guidance_rule": "linear", "guidance_blocks": "all"},
    {"guidance_rule": "product", "guidance_ramp": "linear"},
    {"guidance_rule": "linear", "guidance_blocks": "all", "guidance_ramp": "linear"},
    {"guidance_against": "temperature", "attention_temperature": 0.5, "temperature": 0.8},
    {
        "guidance_rule": "linear",
        "guidance_blocks": "all",
        "guidance_against": "temperature",
        "attention_temperature": 2.0,
    },
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())) or "plain")
@pytest.mark.parametrize(
    "shape", [{}, TARFLOW, {"condition": {"kind": "prefix", "rotary_pairs": 2}}]
)
def test_every_way_of_guidance_is_that_of_the_slow_sampler(
    make_flow: Callable[..., Flow], shape: dict[str, Any], way: dict[str, Any]
) -> None:
    flow, settings = make_flow(**shape), Sampler(guidance=1.3, **way)
    noise = noise_for(flow)
    expected = slowly(flow, noise, LABEL, settings)
    drawn = sample(flow, noise, LABEL, settings)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-12)
    plain = sample(flow, settings.temperature * noise, LABEL, UNGUIDED)
    assert (drawn - plain).abs().max() > 1e-4


@pytest.mark.parametrize("blocks", ["deep", "all"])
def test_a_flow_without_classes_is_led_away_from_another_temperature(
    make_flow: Callable[..., Flow], blocks: str
) -> None:
    unconditional = make_flow(**TARFLOW | {"condition": {"kind": "none"}})
    settings = Sampler(
        guidance=1.3,
        guidance_rule="linear",
        guidance_blocks=blocks,
        guidance_against="temperature",
        attention_temperature=0.5,
    )
    # Of a flow with classes, no class may be asked for.
    for flow, label in ((unconditional, LABEL), (unconditional, None), (make_flow(), None)):
        noise = noise_for(flow)
        expected = slowly(flow, noise, label, settings)
        torch.testing.assert_close(
            sample(flow, noise, label, settings), expected, rtol=0, atol=1e-12
        )
    same = settings.model_copy(update={"attention_temperature": 1.0})
    noise = noise_for(unconditional)
    # The two halves of a batch are equal but for their place in it, and so for rounding.
    torch.testing.assert_close(
        sample(unconditional, noise, None, same),
        sample(unconditional, noise, None, UNGUIDED),
        rtol=0,
        atol=1e-12,
    )


def test_what_is_the_null_class_itself_cannot_be_led_away_from_it(
    make_flow: Callable[..., Flow],
) -> None:
    unconditional = make_flow(condition={"kind": "none"})
    noise = noise_for(unconditional)
    with pytest.raises(BadInput, match=r"a flow without classes.*guidance_against=temperature"):
        sample(unconditional, noise, LABEL, Sampler(guidance=1.0))
    with pytest.raises(BadInput, match=r"for no class.*Expected guidance=0"):
        sample(make_flow(), noise, None, Sampler(guidance=1.0))


def test_the_temperature_is_a_factor_on_the_priors_noise(
    make_flow: Callable[..., Flow], family: dict[str, Any]
) -> None:
    flow = make_flow(**family)
    flow.track_prior(3 * noise_for(flow))  # of flows of shifts, whose prior is their own
    noise = noise_for(flow)
    drawn = sample(flow, noise, LABEL, Sampler(guidance=0.0, temperature=0.7))
    back, _ = flow(drawn, flow.condition(LABEL))
    torch.testing.assert_close(back, 0.7 * flow.to_prior(noise), rtol=0, atol=1e-12)


def test_a_sample_does_not_depend_on_its_batch(make_flow: Callable[..., Flow]) -> None:
    flow, settings = make_flow(), Sampler(guidance=0.7)
    noise = noise_for(flow)
    alone = sample(flow, noise[1:], LABEL[1:], settings)
    torch.testing.assert_close(sample(flow, noise, LABEL, settings)[1:], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("blocks", ["shallow", "all"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())) or "plain")
def test_iterated_until_nothing_changes_it_is_what_is_drawn_token_by_token(
    make_flow: Callable[..., Flow], family: dict[str, Any], way: dict[str, Any], blocks: str
) -> None:
    flow = make_flow(side=3, **family)
    if not flow.shape.is_conditional:
        way = way | {"guidance_against": "temperature", "attention_temperature": 0.5}
    noise = noise_for(flow)
    plain = draw(flow, noise, LABEL, Sampler(guidance=0.9, **way))
    iterated = Sampler(
        guidance=0.9,
        decoding="jacobi",
        jacobi_blocks=blocks,
        jacobi_chunk=4,
        jacobi_tolerance=0.0,
        **way,
    )
    found = draw(flow, noise, LABEL, iterated)
    torch.testing.assert_close(found.tokens, plain.tokens, rtol=0, atol=1e-12)
    steps = flow.side**2 - (flow.shape.first == "kept")
    assert plain.passes == (steps, steps)
    assert -(-steps // 4) <= found.passes[0] <= steps
    assert found.passes[1] <= steps if blocks == "all" else found.passes[1] == steps
