"""What the flow models: the latent of an autoencoder, or the pixels themselves."""

from typing import Annotated
from typing import Literal
from typing import Self

from pydantic import Field
from pydantic import model_validator

from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight


class FixedPosterior(Record):
    """q(z|x) = N(mean(x), std^2). Source: SimFlow, arXiv 2512.04084."""

    kind: Literal["fixed"] = "fixed"
    std: PositiveFloat = Field(0.5, description="posterior standard deviation, fixed")


class LearnedPosterior(Record):
    """q(z|x) = N(mean(x), std(x)^2), as in an ordinary variational autoencoder."""

    kind: Literal["learned"] = "learned"
    min_log_std: float = Field(-5.0, description="lower clamp of the log standard deviation")
    max_log_std: float = Field(2.0, description="upper clamp of the log standard deviation")
    added_noise: Weight = Field(
        0.0,
        description="spread of the noise added to every draw, after scaling (STARFlow: 0.3)",
    )

    @model_validator(mode="after")
    def _clamps_leave_room(self) -> Self:
        if self.min_log_std >= self.max_log_std:
            raise ValueError(
                f"min_log_std {self.min_log_std:g} must be below max_log_std {self.max_log_std:g}"
            )
        return self


class UniformPosterior(Record):
    """Uniform dequantisation: the pixel's own bin. Source: TARFlow, arXiv 2412.06329."""

    kind: Literal["uniform"] = "uniform"
    bins: PositiveInt = Field(
        256, description="levels of a pixel; images are rounded to them (digits have 17)"
    )


class Convolutional(Record):
    """Convolutional encoder and decoder (the layout of latent-diffusion autoencoders)."""

    kind: Literal["convolutional"] = "convolutional"
    width: PositiveInt = Field(128, description="channels at full resolution")
    multipliers: tuple[PositiveInt, ...] = Field(
        min_length=1,
        description="channel multiplier per resolution; each but the first halves the grid",
    )
    blocks_per_level: PositiveInt = Field(2, description="residual blocks per resolution")
    latent_channels: PositiveInt = Field(description="channels of the latent")
    attention: bool = Field(True, description="self-attention at the lowest resolution")
    posterior: Annotated[FixedPosterior | LearnedPosterior, Field(discriminator="kind")] = (
        FixedPosterior()
    )
    normalise: Literal["none", "layer", "batch"] = Field(
        "none",
        description="of the latent, without learned scale: layer, the mean over the channels of a "
        "cell (SimFlow, figure 5); batch, the draws, with running statistics (REPA-E)",
    )
    latent_shift: float = Field(
        0.0,
        description="taken off the latent before scaling (Stable Diffusion 3's: 0.0609)",
    )
    latent_scale: PositiveFloat = Field(
        1.0, description="factor on the latent (Stable Diffusion's autoencoder: 0.18215)"
    )
    weights: str | None = Field(
        None,
        description="what to start from: a checkpoint's or run's folder, for its averaged "
        "autoencoder, or a folder in diffusers' layout of AutoencoderKL",
    )

    @property
    def downsampling(self) -> int:
        """Image side over latent side."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def noise_spread(self) -> float | None:
        """Spread of the Gaussian noise that every latent has, in the latent's own units; None where
        none of a known spread is there (of a learned one, only what is added to it)."""
        if isinstance(self.posterior, FixedPosterior):
            return self.posterior.std * self.latent_scale
        return self.posterior.added_noise or None


class Pixels(Record):
    """No autoencoder: the latent is the image with noise. Source: TARFlow, arXiv 2412.06329."""

    kind: Literal["pixels"] = "pixels"
    posterior: Annotated[FixedPosterior | UniformPosterior, Field(discriminator="kind")] = (
        FixedPosterior(std=0.05)
    )

    @property
    def downsampling(self) -> int:
        """Image side over latent side."""
        return 1

    @property
    def weights(self) -> None:
        """What to start from: there are no weights."""
        return None

    @property
    def noise_spread(self) -> float | None:
        """Spread of the Gaussian noise on every pixel; None where the noise is uniform."""
        return self.posterior.std if isinstance(self.posterior, FixedPosterior) else None
