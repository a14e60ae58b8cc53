"""The autoregressive flow: its blocks, and how a class steers them."""

from typing import Annotated
from typing import Literal
from typing import Self

from pydantic import Field
from pydantic import model_validator

from system.foundation.settings.record import Fraction
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight

Place = Annotated[int, Field(ge=0)]


class AdaptiveNorm(Record):
    """Classes shift, scale (and gate) every norm. Source: DiT, arXiv 2212.09748, section 3.2."""

    kind: Literal["adaptive_norm"] = "adaptive_norm"
    ways: Literal[4, 6] = Field(6, description="vectors per layer: 4 shift and scale, 6 also gate")


class Added(Record):
    """Every block adds a class vector of its own to every token. Source: TARFlow's code."""

    kind: Literal["added"] = "added"


class Prefix(Record):
    """A class token before the others, in the deep block alone. Source: STARFlow's code."""

    kind: Literal["prefix"] = "prefix"
    rotary_pairs: Annotated[int, Field(ge=0)] = Field(
        8, description="pairs of a head set aside for places in the prefix; they do not turn"
    )


class Unconditional(Record):
    """Classes are not looked at."""

    kind: Literal["none"] = "none"


class Flow(Record):
    """Autoregressive flow over tokens. Source: TARFlow, arXiv 2412.06329; STARFlow, 2506.06276."""

    width: PositiveInt = Field(description="transformer width")
    depths: tuple[PositiveInt, ...] = Field(
        min_length=1,
        description="transformer layers of each block, from the data side to the noise side",
    )
    head_width: PositiveInt = Field(64, description="width of an attention head")
    patch: PositiveInt = Field(1, description="latent cells per token side")
    condition: Annotated[
        AdaptiveNorm | Added | Prefix | Unconditional, Field(discriminator="kind")
    ] = AdaptiveNorm()
    positions: Literal["rotary", "learned"] = Field(
        "rotary", description="rotary on both axes, or a learned vector per token in every block"
    )
    rope_base: PositiveFloat = Field(10_000.0, description="base of rotary positions")
    first: Literal["start", "kept"] = Field(
        "start", description="a learned start token lets the first token change; kept: it stays"
    )
    raster: Literal["noise_side", "data_side"] = Field(
        "noise_side", description="the end whose block goes in raster order; the others alternate"
    )
    affine: Literal["scale_shift", "shift"] = Field(
        "scale_shift",
        description="shift alone preserves volume, and the prior's variance is tracked",
    )
    scale: Literal["exp", "softplus"] = Field("exp", description="how a raw scale becomes positive")
    soft_clip: Weight = Field(
        4.0, description="bound of raw scale and shift, c·tanh(v/c); 0 for none"
    )
    norm_out: Literal["rms", "none"] = Field("rms", description="norm before scale and shift")
    perceptron: Literal["gelu", "gelu_tanh", "swiglu", "geglu"] = Field(
        "gelu_tanh", description="activation of the layers' perceptrons; the last two are gated"
    )
    perceptron_ratio: PositiveFloat = Field(4.0, description="their hidden width over the width")
    label_drop: Fraction = Field(
        0.1, description="share of training labels replaced by the null class"
    )
    checkpoint_activations: bool | tuple[Place, ...] = Field(
        False,
        description="recompute activations in the backward pass: of all blocks, of none, or of "
        "those at these places, counted from 0 at the data side",
    )
    weights: str | None = Field(
        None,
        description="what to start from: a run's or checkpoint's folder (also an imported one) or "
        "released weights, for their averaged flow; null starts from random weights",
    )

    @property
    def is_conditional(self) -> bool:
        """Whether classes are looked at."""
        return not isinstance(self.condition, Unconditional)

    @property
    def checkpointed_blocks(self) -> frozenset[int]:
        """The places of the blocks whose activations are recomputed."""
        places = range(len(self.depths))
        if isinstance(self.checkpoint_activations, tuple):
            return frozenset(self.checkpoint_activations)
        return frozenset(places if self.checkpoint_activations else ())

    @model_validator(mode="after")
    def _checkpointed_blocks_are_there(self) -> Self:
        if beyond := sorted(self.checkpointed_blocks - set(range(len(self.depths)))):
            raise ValueError(
                f"checkpoint_activations names block {beyond[0]}, but depths has "
                f"{len(self.depths)}: expected places from 0 to {len(self.depths) - 1}, the last "
                "one being the block nearest the noise"
            )
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.head_width or self.head_width % 4:
            raise ValueError(
                f"width {self.width} must be a multiple of head_width {self.head_width}, "
                "and head_width a multiple of 4 (rotary positions on two axes)"
            )
        if isinstance(self.condition, Prefix) and self.positions == "rotary":
            left = self.head_width // 2 - self.condition.rotary_pairs
            if left < 2 or left % 2:
                raise ValueError(
                    f"condition.rotary_pairs {self.condition.rotary_pairs} leaves {left} of "
                    f"{self.head_width // 2} pairs of a head for the grid's two axes; expected "
                    "an even number of at least 2"
                )
        return self
