"""How a loss becomes an update."""

from typing import Annotated
from typing import Literal
from typing import Self

from pydantic import Field
from pydantic import model_validator

from system.foundation.settings.record import Fraction
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight


class Adamw(Record):
    """AdamW (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="peak learning rate")
    beta1: Fraction = Field(0.9, description="decay of the first moment")
    beta2: Fraction = Field(0.95, description="decay of the second moment")
    weight_decay: Weight = Field(1e-4, description="decoupled weight decay, on matrices only")
    eps: Annotated[float, Field(gt=0)] = Field(1e-8, description="denominator's floor")


class Constant(Record):
    """Linear warm-up, then constant."""

    kind: Literal["constant"] = "constant"
    warmup_images: Annotated[int, Field(ge=0)] = Field(0, description="images of linear warm-up")


class Cosine(Record):
    """Linear warm-up, then cosine decay to `final_fraction` of the peak at the run's end, or at
    `horizon_images`."""

    kind: Literal["cosine"] = "cosine"
    warmup_images: Annotated[int, Field(ge=0)] = Field(0, description="images of linear warm-up")
    final_fraction: Fraction = Field(0.01, description="last learning rate over the peak")
    horizon_images: PositiveInt | None = Field(
        None,
        description="images at which the decay ends; null: run.total_images. A run that may be "
        "made longer (a campaign's) says it, so that its course does not depend on its length",
    )


class Engine(Record):
    """How a loss becomes an update; DeepSpeed's settings are derived from this."""

    precision: Literal["bf16", "fp32"] = Field(
        "bf16", description="of weights and activations in a pass"
    )
    zero_stage: Literal[0, 1, 2, 3] = Field(2, description="what ZeRO shards over the workers")
    compile: bool = Field(
        False,
        description="torch.compile the flow's layers, encoder and decoder: faster on a GPU after a "
        "first update that takes minutes; rounded otherwise than without it",
    )
    gradient_clip: Weight = Field(1.0, description="bound of the global gradient norm; 0 for none")
    optimiser: Adamw = Adamw()
    schedule: Annotated[Constant | Cosine, Field(discriminator="kind")] = Constant()
    averaging_decay: Fraction = Field(
        0.9999, description="decay of the averaged weights, per update"
    )
    further_decays: tuple[Fraction, ...] = Field(
        (),
        description="decays of further averages that a checkpoint holds, for evaluation to choose "
        "among; each costs 4 bytes per parameter",
    )
    averaging_warmup: bool = Field(
        True,
        description="limit the decay to (1 + updates) / (10 + updates), so that early weights fade",
    )
    max_skipped_updates: PositiveInt = Field(
        10,
        description="updates skipped in a row for values that are not finite before the run stops",
    )

    @model_validator(mode="after")
    def _averages_differ(self) -> Self:
        if len(set(self.decays)) < len(self.decays):
            raise ValueError(
                f"further_decays has one twice, or averaging_decay ({self.averaging_decay:g}) once "
                f"more: found {list(self.further_decays)}, expected decays that all differ"
            )
        return self

    @model_validator(mode="after")
    def _what_is_sharded_is_not_compiled(self) -> Self:
        if self.compile and self.zero_stage == 3:
            raise ValueError(
                "compile=true with zero_stage=3: ZeRO-3 gathers every layer's weights in hooks "
                "that torch.compile cannot take in; expected zero_stage 0, 1 or 2, or compile=false"
            )
        return self

    @property
    def decays(self) -> tuple[float, ...]:
        """The decays of all averages: first that of the averaged weights, then further ones."""
        return (self.averaging_decay, *self.further_decays)
