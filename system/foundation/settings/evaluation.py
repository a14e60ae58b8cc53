"""How images are drawn from a flow, and how checkpoints are measured."""

from typing import Literal

from pydantic import Field

from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight


class Sampler(Record):
    """How tokens are drawn: guidance, temperature, denoising."""

    guidance: Weight = Field(
        1.0, description="guidance weight; 0 draws from the conditional itself"
    )
    guidance_rule: Literal["starflow", "linear", "product"] = Field(
        "starflow", description="how two Gaussians become one: see system/flow/guidance.py"
    )
    guidance_blocks: Literal["deep", "all"] = Field(
        "deep", description="blocks that are guided: the one nearest the noise, or all"
    )
    guidance_parts: Literal["ab", "a", "b"] = Field(
        "ab", description="what the linear rule moves: log scale (a), shift (b) or both"
    )
    guidance_ramp: Literal["none", "linear"] = Field(
        "none", description="linear: the weight grows from token to token, up to its full value"
    )
    guidance_against: Literal["null_class", "temperature"] = Field(
        "null_class",
        description="what guidance leads away from: the null class, or the null class with "
        "attention at another temperature (guidance of an unconditional flow)",
    )
    attention_temperature: PositiveFloat = Field(
        1.0, description="attention's temperature in what guidance leads away from"
    )
    temperature: PositiveFloat = Field(1.0, description="spread of the drawn noise")
    denoise: Weight = Field(
        0.0, description="score step on the drawn latent, over Tweedie's; 1 is its optimum, 0 none"
    )


class NoEvaluation(Record):
    """Checkpoints are not evaluated."""

    kind: Literal["none"] = "none"


class DigitsEvaluation(Sampler):
    """The digits protocol: a classifier trained on real digits scores what the flow draws."""

    kind: Literal["digits"] = "digits"
    every_images: PositiveInt = Field(
        description="images between two evaluations; on checkpoints only"
    )
    seed: int = Field(0, ge=0, description="seed of the drawn noise and labels")
    density_samples: PositiveInt = Field(4, description="posterior draws of an image, Bayes")
    gradient_samples: PositiveInt = Field(
        16, description="posterior draws per image: one-gradient classifier"
    )
    batch: PositiveInt = Field(256, description="images per pass")
    timeout_s: PositiveInt = Field(900, description="seconds before an evaluation is given up")
