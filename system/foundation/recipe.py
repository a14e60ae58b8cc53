"""Every setting of a run: one frozen, typed record, checked whole before anything starts.

A field's description is what `--help` prints. Nothing here reads files: `config` fills these
records from a recipe, its overlays and the command line. Settings of DeepSpeed and Ray are derived
from these, never written twice.
"""

from typing import Annotated
from typing import Literal
from typing import Self

from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field
from pydantic import model_validator

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]


class Record(BaseModel):
    """A frozen record that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Run(Record):
    """Which run this is, how long it goes on, and where it writes."""

    # Ray and every store make file names of it, which may have 255 bytes with what they add.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = Field(
        description="name of the run; the same name under the same root resumes it"
    )
    root: str = Field("runs", description="folder or url that holds runs (any fsspec url)")
    seed: int = Field(0, ge=0, description="seed of every random stream of the run")
    total_images: PositiveInt = Field(description="training images after which the run is done")
    global_batch: PositiveInt = Field(description="images per update, whatever the cluster's size")
    report_every_images: PositiveInt = Field(description="images between two ledger reports")
    checkpoint_every_images: PositiveInt = Field(description="images between two checkpoints")
    keep_checkpoints: PositiveInt = Field(3, description="newest checkpoints kept")


class Cluster(Record):
    """What Ray gives the run. The global batch is fixed; this only decides how it is cut."""

    workers: PositiveInt = Field(
        1, description="training workers (one GPU each, where GPUs are used)"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="where workers compute; auto takes cuda when the driver's cluster has GPUs",
    )
    cpus_per_worker: Annotated[float, Field(gt=0)] = Field(
        1, description="CPUs reserved per worker"
    )
    micro_batch: PositiveInt | None = Field(
        None, description="images per worker per pass; null puts a worker's whole share in one pass"
    )
    max_failures: Annotated[int, Field(ge=-1)] = Field(
        3, description="restarts after crashes before giving up (-1: no limit)"
    )
    start_timeout_s: PositiveInt = Field(
        120, description="seconds to wait for the workers to start"
    )
    evaluation_cpus: Annotated[float, Field(ge=0)] = Field(
        1, description="CPUs of the evaluation task"
    )
    evaluation_gpus: Annotated[float, Field(ge=0)] = Field(
        0, description="GPUs of the evaluation task"
    )


class Data(Record):
    """The stream of training images."""

    shards: str = Field(description="folder or url with the shards and their manifest.json")
    image_size: PositiveInt = Field(description="side of the square images, pixels")
    image_channels: Literal[1, 3] = Field(3, description="1 for grey, 3 for colour")
    classes: PositiveInt = Field(description="number of classes; labels are 0 … classes-1")
    crop: Literal["none", "adm"] = Field(
        "adm",
        description="none: shards hold the exact size; adm: the centre crop of ADM's evaluation",
    )
    flip: bool = Field(True, description="mirror each image with probability one half")
    window_shards: PositiveInt = Field(8, description="shards mixed in the shuffle window")
    workers: Annotated[int, Field(ge=0)] = Field(2, description="decoding processes per worker")
    prefetch: PositiveInt = Field(2, description="batches each decoding process keeps ready")
    max_bad_fraction: Fraction = Field(
        0.001, description="share of bad samples past which a run stops"
    )


class FixedPosterior(Record):
    """q(z|x) = N(mean(x), std^2). Source: SimFlow, arXiv 2512.04084."""

    kind: Literal["fixed"] = "fixed"
    std: Annotated[float, Field(gt=0)] = Field(
        0.5, description="posterior standard deviation, fixed"
    )


class LearnedPosterior(Record):
    """q(z|x) = N(mean(x), std(x)^2), as in an ordinary variational autoencoder."""

    kind: Literal["learned"] = "learned"
    min_log_std: float = Field(-5.0, description="lower clamp of the log standard deviation")
    max_log_std: float = Field(2.0, description="upper clamp of the log standard deviation")

    @model_validator(mode="after")
    def _clamps_leave_room(self) -> Self:
        if self.min_log_std >= self.max_log_std:
            raise ValueError(
                f"min_log_std {self.min_log_std:g} must be below max_log_std {self.max_log_std:g}"
            )
        return self


class Autoencoder(Record):
    """Convolutional encoder and decoder (the layout of latent-diffusion autoencoders)."""

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
    weights: str | None = Field(
        None, description="checkpoint folder of a run whose averaged autoencoder to start from"
    )

    @property
    def downsampling(self) -> int:
        """Image side over latent side."""
        return 2 ** (len(self.multipliers) - 1)


class Flow(Record):
    """Autoregressive flow over latent tokens, deep block nearest the noise. Source: STARFlow."""

    width: PositiveInt = Field(description="transformer width")
    depths: tuple[PositiveInt, ...] = Field(
        min_length=1,
        description="transformer layers of each block, from the data side to the noise side",
    )
    head_width: PositiveInt = Field(64, description="width of an attention head")
    patch: PositiveInt = Field(1, description="latent cells per token side")
    scale: Literal["exp", "softplus"] = Field("exp", description="how a raw scale becomes positive")
    soft_clip: Annotated[float, Field(ge=0)] = Field(
        4.0, description="bound of raw scale and shift, c·tanh(v/c); 0 for none"
    )
    label_drop: Fraction = Field(
        0.1, description="share of training labels replaced by the null class"
    )
    rope_base: Annotated[float, Field(gt=0)] = Field(
        10_000.0, description="base of rotary positions"
    )
    checkpoint_activations: bool = Field(
        False, description="recompute activations in the backward pass"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.head_width or self.head_width % 4:
            raise ValueError(
                f"width {self.width} must be a multiple of head_width {self.head_width}, "
                "and head_width a multiple of 4 (rotary positions on two axes)"
            )
        return self


class Reconstruction(Record):
    """Pixel distance between decoded and original image, mean over pixels."""

    kind: Literal["l1", "l2"] = Field("l1", description="absolute or squared difference")
    weight: Weight = Field(1.0, description="weight in the objective")


class NoPerceptual(Record):
    """No perceptual term."""

    kind: Literal["none"] = "none"


class Lpips(Record):
    """LPIPS on a VGG-16 trunk. Source: Zhang et al. 2018, arXiv 1801.03924."""

    kind: Literal["lpips"] = "lpips"
    weight: Weight = Field(1.0, description="weight in the objective")
    trunk: str = Field(description="path or url of torchvision's vgg16-397923af.pth")


class NoAdversarial(Record):
    """No discriminator."""

    kind: Literal["none"] = "none"


class PatchGan(Record):
    """Patch discriminator with hinge loss. Source: VQGAN, arXiv 2012.09841."""

    kind: Literal["patchgan"] = "patchgan"
    weight: Weight = Field(0.1, description="weight of the generator's share in the objective")
    start_images: Annotated[int, Field(ge=0)] = Field(0, description="images before it takes part")
    width: PositiveInt = Field(64, description="channels of the first layer")
    layers: PositiveInt = Field(3, description="strided layers")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="its own learning rate")

    @property
    def smallest_image(self) -> int:
        """Side of the smallest image that it can judge: each strided layer halves the grid, rounded
        down, and each of the two last convolutions (4x4, padded by one) takes one more row."""
        return 3 * 2**self.layers


class Likelihood(Record):
    """The flow's negative log-likelihood of the latent, nats per dimension."""

    weight: Weight = Field(1.0, description="weight in the objective")


class Objective(Record):
    """The joint objective and which loss reaches which weights (see objectives/routes)."""

    route: Literal["joint", "detached", "frozen_encoder", "frozen", "autoencoder_only"] = Field(
        "joint", description="gradient routes: a row of the table in objectives/routes"
    )
    reconstruction: Reconstruction = Reconstruction()
    perceptual: Annotated[NoPerceptual | Lpips, Field(discriminator="kind")] = NoPerceptual()
    adversarial: Annotated[NoAdversarial | PatchGan, Field(discriminator="kind")] = NoAdversarial()
    likelihood: Likelihood = Likelihood()


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
    """Linear warm-up, then cosine decay to `final_fraction` of the peak at the run's end."""

    kind: Literal["cosine"] = "cosine"
    warmup_images: Annotated[int, Field(ge=0)] = Field(0, description="images of linear warm-up")
    final_fraction: Fraction = Field(0.01, description="last learning rate over the peak")


class Engine(Record):
    """How a loss becomes an update; DeepSpeed's settings are derived from this."""

    precision: Literal["bf16", "fp32"] = Field(
        "bf16", description="of weights and activations in a pass"
    )
    zero_stage: Literal[0, 1, 2, 3] = Field(2, description="what ZeRO shards over the workers")
    gradient_clip: Weight = Field(1.0, description="bound of the global gradient norm; 0 for none")
    optimiser: Adamw = Adamw()
    schedule: Annotated[Constant | Cosine, Field(discriminator="kind")] = Constant()
    averaging_decay: Fraction = Field(
        0.9999, description="decay of the averaged weights, per update"
    )
    averaging_warmup: bool = Field(
        True,
        description="limit the decay to (1 + updates) / (10 + updates), so that early weights fade",
    )
    max_skipped_updates: PositiveInt = Field(
        10,
        description="updates skipped in a row for values that are not finite before the run stops",
    )


class NoEvaluation(Record):
    """Checkpoints are not evaluated."""

    kind: Literal["none"] = "none"


class DigitsEvaluation(Record):
    """The digits protocol: a classifier trained on real digits scores what the flow draws."""

    kind: Literal["digits"] = "digits"
    every_images: PositiveInt = Field(
        description="images between two evaluations; on checkpoints only"
    )
    guidance: Weight = Field(
        1.0, description="guidance weight; 0 draws from the conditional itself"
    )
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="spread of the drawn noise")
    seed: int = Field(0, ge=0, description="seed of the drawn noise and labels")
    density_samples: PositiveInt = Field(4, description="posterior draws of an image, Bayes")
    gradient_samples: PositiveInt = Field(
        16, description="posterior draws per image: one-gradient classifier"
    )
    batch: PositiveInt = Field(256, description="images per pass")
    timeout_s: PositiveInt = Field(900, description="seconds before an evaluation is given up")


class Wandb(Record):
    """The Weights & Biases mirror of the ledger."""

    mode: Literal["auto", "online", "offline", "disabled"] = Field(
        "auto", description="auto: online when WANDB_API_KEY is set, else offline"
    )
    project: str = Field("latent-flows", description="project name there")


class Recipe(Record):
    """One complete run."""

    run: Run
    cluster: Cluster = Cluster()
    data: Data
    autoencoder: Autoencoder
    flow: Flow
    objective: Objective = Objective()
    engine: Engine = Engine()
    evaluation: Annotated[NoEvaluation | DigitsEvaluation, Field(discriminator="kind")] = (
        NoEvaluation()
    )
    wandb: Wandb = Wandb()

    @property
    def latent_size(self) -> int:
        """Side of the latent grid."""
        return self.data.image_size // self.autoencoder.downsampling

    @property
    def tokens(self) -> int:
        """Tokens per image."""
        return (self.latent_size // self.flow.patch) ** 2

    @property
    def token_width(self) -> int:
        """Numbers per token."""
        return self.autoencoder.latent_channels * self.flow.patch**2

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
            raise ValueError(f"run.global_batch {batch} not divisible by cluster.workers {workers}")
        micro = self.cluster.micro_batch
        if micro is not None and (batch // workers) % micro:
            raise ValueError(
                f"cluster.micro_batch {micro} does not divide a worker's share "
                f"{batch // workers} of run.global_batch"
            )
        return self

    @model_validator(mode="after")
    def _frozen_parts_exist(self) -> Self:
        is_frozen = self.objective.route in ("frozen", "frozen_encoder")
        if is_frozen and self.autoencoder.weights is None:
            raise ValueError(
                f"objective.route {self.objective.route!r} freezes weights, so autoencoder.weights "
                "must name a checkpoint to start from"
            )
        return self
