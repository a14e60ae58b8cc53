"""How images are drawn from a flow, and how checkpoints are measured."""

from typing import Annotated
from typing import Any
from typing import Literal
from typing import Self

from pydantic import Field
from pydantic import model_validator

from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight

Rule = Literal["starflow", "linear", "product"]
Blocks = Literal["deep", "all"]
Parts = Literal["ab", "a", "b"]
Ramp = Literal["none", "linear"]
Against = Literal["null_class", "temperature"]
Decoding = Literal["tokens", "jacobi"]
JacobiBlocks = Literal["shallow", "all"]
Preset = Literal["adm_50k", "torch_fidelity", "tarflow", "dinov2"]
LabelMode = Literal["random", "balanced", "train_frequency"]
# Two streams each, and torch has 32 (`system.flow.lanes`).
InFlight = Annotated[int, Field(ge=1, le=16)]
IN_FLIGHT = (
    "passes of a unit that go through the flow at once, each in another block, as a pipeline (see "
    "system/flow/streaming.py): so many keep keys and values in memory, on a CPU so many threads "
    "compute; changes no number"
)
THE_RUNS = "null takes the run's"


class Sampler(Record):
    """How tokens are drawn: guidance, temperature, denoising, decoding."""

    guidance: Weight = Field(
        1.0, description="guidance weight; 0 draws from the conditional itself"
    )
    guidance_rule: Rule = Field(
        "starflow", description="how two Gaussians become one: see system/flow/guidance.py"
    )
    guidance_blocks: Blocks = Field(
        "deep", description="blocks that are guided: the one nearest the noise, or all"
    )
    guidance_parts: Parts = Field(
        "ab", description="what guidance moves: log scale (a), shift (b) or both"
    )
    guidance_ramp: Ramp = Field(
        "none", description="linear: the weight grows from token to token, up to its full value"
    )
    guidance_against: Against = Field(
        "null_class",
        description="what guidance leads away from: the null class, or the null class with "
        "attention at another temperature (guidance of an unconditional flow)",
    )
    attention_temperature: PositiveFloat = Field(
        1.0, description="attention's temperature in what guidance leads away from"
    )
    temperature: PositiveFloat = Field(1.0, description="spread of the drawn noise")
    denoise: Weight = Field(
        0.0, description="score step on the drawn latent, as a multiple of Tweedie's; 0 for none"
    )
    decoding: Decoding = Field(
        "tokens",
        description="how a block's tokens come out of its noise: one after the other, or chunks of "
        "them by Jacobi iteration (see system/flow/decoding.py)",
    )
    jacobi_blocks: JacobiBlocks = Field(
        "shallow", description="blocks that are iterated: all but the one nearest the noise, or all"
    )
    jacobi_chunk: PositiveInt = Field(
        16, description="tokens that are iterated at once, and the most passes that they take"
    )
    jacobi_tolerance: Weight = Field(
        1e-3,
        description="most that a number of a token may still change at the end of its iteration; 0 "
        "gives the tokens of decoding tokens, up to rounding",
    )

    @model_validator(mode="after")
    def _temperature_has_its_place(self) -> Self:
        if self.guidance_against == "null_class" and self.attention_temperature != 1:
            raise ValueError(
                f"attention_temperature {self.attention_temperature:g} is used with "
                "guidance_against temperature alone; guidance_against is null_class"
            )
        return self

    def effective(self) -> "Sampler":
        """These keys alone, and at their defaults those that change nothing: without a weight, all
        others of guidance; token by token, all of Jacobi iteration."""
        kept = set(Sampler.model_fields)
        if self.guidance == 0:
            kept -= GUIDANCE_DETAILS
        if self.decoding == "tokens":
            kept -= JACOBI_DETAILS
        return Sampler(**self.model_dump(include=kept))


GUIDANCE_DETAILS = {
    *("guidance_rule", "guidance_blocks", "guidance_parts", "guidance_ramp", "guidance_against"),
    "attention_temperature",
}
JACOBI_DETAILS = {"jacobi_blocks", "jacobi_chunk", "jacobi_tolerance"}


class MannerChanges(Record):
    """A sampler's keys but for its two strengths, each left to the run's own where nothing is
    said."""

    guidance_rule: Rule | None = Field(
        None, description=f"how two Gaussians become one; {THE_RUNS}"
    )
    guidance_blocks: Blocks | None = Field(
        None, description=f"blocks that are guided: the one nearest the noise, or all; {THE_RUNS}"
    )
    guidance_parts: Parts | None = Field(
        None, description=f"what guidance moves: log scale (a), shift (b) or both; {THE_RUNS}"
    )
    guidance_ramp: Ramp | None = Field(
        None, description=f"linear: the weight grows from token to token; {THE_RUNS}"
    )
    guidance_against: Against | None = Field(
        None,
        description="what guidance leads away from: the null class, or the null class at another "
        f"attention_temperature; {THE_RUNS}",
    )
    attention_temperature: PositiveFloat | None = Field(
        None, description=f"attention's temperature in what guidance leads away from; {THE_RUNS}"
    )
    denoise: Weight | None = Field(
        None, description=f"score step on the drawn latent, as a multiple of Tweedie's; {THE_RUNS}"
    )
    decoding: Decoding | None = Field(
        None, description=f"tokens one after the other, or chunks by Jacobi iteration; {THE_RUNS}"
    )
    jacobi_blocks: JacobiBlocks | None = Field(
        None, description=f"blocks that are iterated: all but the deep one, or all; {THE_RUNS}"
    )
    jacobi_chunk: PositiveInt | None = Field(
        None, description=f"tokens that are iterated at once; {THE_RUNS}"
    )
    jacobi_tolerance: Weight | None = Field(
        None, description=f"most that a number may still change at the end; {THE_RUNS}"
    )

    def changes(self) -> dict[str, Any]:
        """What is said of the sampler, as plain values."""
        return self.model_dump(include=set(Sampler.model_fields), exclude_none=True)


class SamplerChanges(MannerChanges):
    """The same with guidance weight and temperature."""

    guidance: Weight | None = Field(None, description=f"guidance weight, 0 for none; {THE_RUNS}")
    temperature: PositiveFloat | None = Field(
        None, description=f"spread of the drawn noise; {THE_RUNS}"
    )


class NoEvaluation(Record):
    """Checkpoints are not evaluated."""

    kind: Literal["none"] = "none"


class Measuring(Sampler):
    """What every kind of evaluation is told: when, how much may wait, and how work is cut."""

    every_images: PositiveInt = Field(
        description="images between two evaluations; on checkpoints only"
    )
    seed: int = Field(0, ge=0, description="seed of the drawn noise and labels")
    batch: PositiveInt = Field(
        256, description="images per unit of work: what a killed worker costs; changes no number"
    )
    batches_in_flight: InFlight = Field(1, description=IN_FLIGHT)
    waiting: PositiveInt = Field(
        2,
        description="checkpoints that may wait for their evaluation; of more than these the oldest "
        "are left out, the last one never",
    )
    timeout_s: PositiveInt = Field(900, description="seconds before an evaluation is given up")


class DigitsEvaluation(Measuring):
    """The digits protocol: a classifier trained on real digits scores what the flow draws."""

    kind: Literal["digits"] = "digits"
    density_samples: PositiveInt = Field(4, description="posterior draws of an image, Bayes")
    gradient_samples: PositiveInt = Field(
        16, description="posterior draws per image: one-gradient classifier"
    )


class ReferenceEvaluation(Measuring):
    """Drawn images against the statistics of a reference, under a protocol of the field's."""

    kind: Preset = Field(description="the protocol: see system/evaluation/presets.py")
    reference: str = Field(
        description="path or url of the reference: ADM's npz, or a folder that "
        "jobs/reference_statistics.py wrote"
    )
    detector: str = Field(description="path or url of the detector's weights")
    detector_sha256: str | None = Field(
        None, description="digest of other weights than the published ones; null: the published"
    )
    resize: str | None = Field(
        None, description="rule that brings images to the detector's size; null: the usual one"
    )
    samples: PositiveInt = Field(50_000, description="images to draw")
    labels: LabelMode = Field(
        "random",
        description="random: uniform and independent; balanced: every class as often; "
        "train_frequency: as often as in the training split",
    )
    held_out_images: Annotated[int, Field(ge=0)] = Field(
        2000, description="held-out images for density and reconstruction; 0 for neither"
    )
    density_samples: PositiveInt = Field(1, description="posterior draws of an image, density")
    gradient_samples: PositiveInt = Field(
        1, description="posterior draws per image: one-gradient classifier"
    )
    lpips: str | None = Field(
        None, description="path or url of the trunk's weights for LPIPS; null leaves it out"
    )
    timeout_s: PositiveInt = Field(6 * 3600, description="seconds before one is given up")
