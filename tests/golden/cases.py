"""The forms of flows that are compared with the peers' own code."""

from typing import Any

from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.flow import Flow
from tests.golden.peers import Case

TARFLOW: dict[str, Any] = {
    "positions": "learned",
    "first": "kept",
    "raster": "data_side",
    "scale": "exp",
    "soft_clip": 0.0,
    "norm_out": "none",
    "perceptron": "gelu",
    "condition": {"kind": "added"},
}
STARFLOW: dict[str, Any] = {
    "positions": "rotary",
    "first": "start",
    "raster": "noise_side",
    "scale": "softplus",
    "soft_clip": 4.0,
    "norm_out": "rms",
    "perceptron": "gelu",
    "condition": {"kind": "prefix"},
}
UNCONDITIONAL = {"condition": {"kind": "none"}}


def linear(guidance: float, **others: Any) -> Sampler:
    """Guidance of TARFlow: linear, in all blocks."""
    return Sampler(guidance=guidance, guidance_rule="linear", guidance_blocks="all", **others)


AGAINST_TEMPERATURE: dict[str, Any] = {
    "guidance_against": "temperature",
    "attention_temperature": 1.7,
}
GUIDED_BY_CLASS = {
    "guided_a": linear(0.7, guidance_parts="a"),
    "guided_b": linear(0.7, guidance_parts="b"),
    "guided_ab": linear(0.7),
    "annealed": linear(0.7, guidance_ramp="linear"),
    "tempered": linear(0.4, guidance_parts="b", **AGAINST_TEMPERATURE),
}
GUIDED_BY_TEMPERATURE = {
    "tempered": linear(0.6, **AGAINST_TEMPERATURE),
    "tempered_annealed": linear(0.6, guidance_ramp="linear", **AGAINST_TEMPERATURE),
}
GUIDED = {"guided": Sampler(guidance=1.5)}


def shape(form: dict[str, Any], width: int, depths: tuple[int, ...], **others: Any) -> Flow:
    """Settings of one form, some of them changed."""
    return Flow(**(form | {"width": width, "depths": depths} | others))


TARFLOWS = (
    Case("tarflow", shape(TARFLOW, 64, (2, 2, 2), patch=2), 4, 3, 5, GUIDED_BY_CLASS),
    Case("tarflow_two_heads", shape(TARFLOW, 128, (1, 1)), 3, 2, 3, GUIDED_BY_CLASS),
    Case(
        "tarflow_unconditional",
        shape(TARFLOW, 64, (1, 1, 1), patch=2, **UNCONDITIONAL),
        *(4, 1, 1),
        GUIDED_BY_TEMPERATURE,
    ),
    Case(
        "tarflow_shift",
        shape(TARFLOW, 64, (1, 1), patch=2, affine="shift"),
        *(3, 2, 4),
        GUIDED_BY_CLASS,
    ),
    Case(
        "tarflow_shift_unconditional",
        shape(TARFLOW, 64, (1, 1, 1), affine="shift", **UNCONDITIONAL),
        *(4, 1, 1),
        GUIDED_BY_TEMPERATURE,
    ),
)
STARFLOWS = (
    Case("starflow", shape(STARFLOW, 64, (1, 2, 1, 3), head_width=32), 4, 4, 6, GUIDED),
    Case(
        "starflow_deep_block_backwards",
        shape(
            STARFLOW,
            *(64, (1, 2)),
            head_width=32,
            patch=2,
            raster="data_side",
            scale="exp",
            soft_clip=0.0,
            norm_out="none",
            perceptron="geglu",
        ),
        *(4, 3, 4),
        GUIDED,
    ),
    Case(
        "starflow_patches",
        shape(STARFLOW, 64, (1, 2), head_width=32, patch=2, first="kept"),
        *(3, 2, 4),
        GUIDED,
    ),
    Case(
        "starflow_learned_positions",
        shape(STARFLOW, 64, (1, 1), head_width=16, positions="learned", scale="exp"),
        *(4, 1, 3),
        GUIDED,
    ),
    Case(
        "starflow_unconditional",
        shape(STARFLOW, 32, (1, 1, 1), head_width=16, raster="data_side", **UNCONDITIONAL),
        *(4, 2, 1),
    ),
    Case(
        "starflow_unconditional_kept",
        shape(
            STARFLOW,
            *(32, (1, 1)),
            head_width=16,
            positions="learned",
            first="kept",
            patch=2,
            **UNCONDITIONAL,
        ),
        *(3, 1, 1),
    ),
)
