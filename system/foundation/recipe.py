"""Every setting of a run: one frozen, typed record, checked whole before anything starts.

A field's description is what `--help` prints. Nothing here reads files: `config` fills these
records from a recipe, its overlays and the command line. Settings of DeepSpeed and Ray are derived
from these, never written twice. The sections are in `settings`.
"""

from typing import Annotated
from typing import Self

from pydantic import Field
from pydantic import model_validator

from system.foundation.batch_cut import indivisible
from system.foundation.batch_cut import world_sizes
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.data import Data
from system.foundation.settings.engine import Engine
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import NoEvaluation
from system.foundation.settings.evaluation import ReferenceEvaluation
from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.flow import Flow
from system.foundation.settings.guards import Guards
from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import Objective
from system.foundation.settings.objective import PatchGan
from system.foundation.settings.record import Record
from system.foundation.settings.run import Cluster
from system.foundation.settings.run import Run
from system.foundation.settings.run import Wandb

FROZEN_ENCODER_ROUTES = ("frozen", "frozen_encoder", "decoder_only")


class Recipe(Record):
    """One complete run."""

    run: Run
    cluster: Cluster = Cluster()
    data: Data
    autoencoder: Annotated[Convolutional | Pixels, Field(discriminator="kind")]
    flow: Flow
    objective: Objective = Objective()
    engine: Engine = Engine()
    guards: Guards = Guards()
    evaluation: Annotated[
        NoEvaluation | DigitsEvaluation | ReferenceEvaluation, Field(discriminator="kind")
    ] = NoEvaluation()
    wandb: Wandb = Wandb()

    @property
    def latent_size(self) -> int:
        """Side of the latent grid."""
        return self.data.image_size // self.autoencoder.downsampling

    @property
    def latent_channels(self) -> int:
        """Channels of the latent: the image's own where the flow models pixels."""
        if isinstance(self.autoencoder, Pixels):
            return self.data.image_channels
        return self.autoencoder.latent_channels

    @property
    def tokens(self) -> int:
        """Tokens per image."""
        return (self.latent_size // self.flow.patch) ** 2

    @property
    def token_width(self) -> int:
        """Numbers per token."""
        return self.latent_channels * self.flow.patch**2

    @property
    def frozen_features(self) -> tuple[str, ...]:
        """What no update changes of what is made of an image: the encoder's moments, where it is
        frozen, and the tokens of a teacher."""
        is_frozen = self.objective.route in FROZEN_ENCODER_ROUTES
        has_moments = is_frozen and not isinstance(self.autoencoder, Pixels)
        has_teacher = isinstance(self.objective.alignment, FeatureAlignment)
        return (("moments",) if has_moments else ()) + (("teacher",) if has_teacher else ())

    @property
    def world_sizes(self) -> tuple[int, ...]:
        """The numbers of workers that the run may go on with, fewest first."""
        most = self.cluster.workers
        return tuple(world_sizes(self.run.global_batch, self.cluster.min_workers or most, most))

    @model_validator(mode="after")
    def _features_can_be_stored(self) -> Self:
        if self.data.features is None:
            return self
        if not self.frozen_features:
            raise ValueError(
                f"data.features {self.data.features!r}: there is nothing frozen to compute once. "
                f"objective.route {self.objective.route!r} with autoencoder.kind "
                f"{self.autoencoder.kind} has no encoder that stays as it is, and "
                "objective.alignment.kind none no teacher: set data.features=null"
            )
        if self.data.crop == "random_resized":
            raise ValueError(
                "data.crop random_resized shows another part of an image each time, of which "
                "nothing can be computed once: set data.features=null, or another data.crop"
            )
        return self

    @model_validator(mode="after")
    def _grids_divide(self) -> Self:
        side, down = self.data.image_size, self.autoencoder.downsampling
        if side % down:
            raise ValueError(
                f"data.image_size {side} is not a multiple of {down}, which is what "
                "autoencoder.multipliers divide it by (2 to their number minus one)"
            )
        if self.latent_size % self.flow.patch:
            raise ValueError(
                f"flow.patch {self.flow.patch} does not divide the latent side {self.latent_size}"
            )
        return self

    @model_validator(mode="after")
    def _discriminator_fits(self) -> Self:
        adversarial, side = self.objective.adversarial, self.data.image_size
        if isinstance(adversarial, PatchGan) and side < adversarial.smallest_image:
            raise ValueError(
                f"objective.adversarial.layers {adversarial.layers} needs images of at least "
                f"{adversarial.smallest_image} pixels; data.image_size is {side}: take fewer "
                "layers, or objective.adversarial.kind=none"
            )
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        batch, workers = self.run.global_batch, self.cluster.workers
        if batch % workers:
            raise ValueError(f"run.global_batch {batch} {indivisible(batch, workers)}")
        micro = self.cluster.micro_batch
        if micro is not None and (batch // workers) % micro:
            raise ValueError(
                f"cluster.micro_batch {micro} does not divide a worker's share "
                f"{batch // workers} of run.global_batch"
            )
        fewest = self.cluster.min_workers
        if fewest is not None and fewest > workers:
            raise ValueError(f"cluster.min_workers {fewest} exceeds cluster.workers {workers}")
        return self

    @model_validator(mode="after")
    def _frozen_parts_exist(self) -> Self:
        if isinstance(self.autoencoder, Pixels):
            return self
        is_frozen = self.objective.route in FROZEN_ENCODER_ROUTES
        if is_frozen and self.autoencoder.weights is None:
            raise ValueError(
                f"objective.route {self.objective.route!r} freezes weights, so autoencoder.weights "
                "must name a checkpoint to start from"
            )
        return self

    @model_validator(mode="after")
    def _pixels_have_no_autoencoder(self) -> Self:
        if isinstance(self.autoencoder, Pixels) and self.objective.route != "frozen":
            raise ValueError(
                f"objective.route {self.objective.route!r} trains an autoencoder, and "
                "autoencoder.kind pixels has none: objective.route must be frozen"
            )
        return self

    @model_validator(mode="after")
    def _evaluation_can_draw(self) -> Self:
        evaluation, posterior = self.evaluation, self.autoencoder.posterior
        if not isinstance(evaluation, Sampler):
            return self
        leads_from_class = evaluation.guidance and evaluation.guidance_against == "null_class"
        if leads_from_class and not self.flow.is_conditional:
            raise ValueError(
                f"evaluation.guidance {evaluation.guidance:g} leads away from the null class, and "
                "flow.condition.kind none has no other: set evaluation.guidance=0, or "
                "evaluation.guidance_against=temperature and its evaluation.attention_temperature"
            )
        if evaluation.denoise and self.autoencoder.noise_spread is None:
            raise ValueError(
                f"evaluation.denoise {evaluation.denoise:g} takes away Gaussian noise of a known "
                f"spread, and autoencoder.posterior.kind {posterior.kind} has none (a learned one "
                "that of its added_noise): set evaluation.denoise=0"
            )
        return self

    @model_validator(mode="after")
    def _alignment_has_its_place(self) -> Self:
        alignment, depths = self.objective.alignment, self.flow.depths
        if not isinstance(alignment, FeatureAlignment):
            return self
        for block, layers in alignment.places:
            if not -len(depths) <= block < len(depths):
                raise ValueError(
                    f"objective.alignment.places names block {block}; flow.depths has "
                    f"{len(depths)} blocks, 0 to {len(depths) - 1} (or -1 to {-len(depths)})"
                )
            if layers > depths[block]:
                raise ValueError(
                    f"objective.alignment.places asks for {layers} layers of block {block}, which "
                    f"has {depths[block]} (flow.depths)"
                )
        return self

    @model_validator(mode="after")
    def _passes_can_be_shared(self) -> Self:
        alignment = self.objective.alignment
        if not isinstance(alignment, FeatureAlignment) or alignment.passes == "separate":
            return self
        if alignment.strategy == "reverse" and alignment.reverse == "exact":
            raise ValueError(
                "objective.alignment.passes shared: reverse exact has passes of other values than "
                "the normal one: set passes=separate, or reverse to straight_through or paper"
            )
        if self.engine.compile:
            raise ValueError(
                "objective.alignment.passes shared leads gradients to a part of what a pass read, "
                "and engine.compile makes one whole of its backward pass: set passes=separate, or "
                "engine.compile=false"
            )
        if self.engine.zero_stage == 3:
            raise ValueError(
                "objective.alignment.passes shared keeps a block's weights from its forward to its "
                "backward pass, and engine.zero_stage 3 has them in parts meanwhile: set "
                "passes=separate, or a stage below 3"
            )
        return self

    @model_validator(mode="after")
    def _alignment_fits_the_route(self) -> Self:
        alignment, route = self.objective.alignment, self.objective.route
        if not isinstance(alignment, FeatureAlignment):
            return self
        if route in ("autoencoder_only", "decoder_only"):
            raise ValueError(
                f"objective.route {route!r} trains no flow whose features could be aligned: set "
                "objective.alignment.kind=none, or another route"
            )
        if alignment.encoder_weight and (alignment.strategy != "forward" or alignment.weight == 0):
            raise ValueError(
                "objective.alignment.encoder_weight needs strategy forward and a weight above 0: "
                "only that pass leads back to the encoder"
            )
        if alignment.encoder_weight and route in ("frozen", "frozen_encoder"):
            raise ValueError(
                f"objective.alignment.encoder_weight {alignment.encoder_weight:g} is for an "
                f"encoder that objective.route {route!r} freezes: set it to 0, or the route to "
                "detached (REPA-E) or joint"
            )
        return self
