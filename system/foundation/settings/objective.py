"""The terms of the objective, and which loss reaches which weights."""

from typing import Annotated
from typing import Literal

from pydantic import Field

from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight


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
    latent_penalty: Weight = Field(
        0.0, description="weight of the mean square of every block's input (STARFlow's code: 1e-4)"
    )


class NoAlignment(Record):
    """Features are not aligned."""

    kind: Literal["none"] = "none"


class Teacher(Record):
    """The frozen vision encoder whose patch tokens the flow's features are drawn to.

    A weights file of jobs/train_teacher.py carries the rest of its shape in its metadata.
    """

    model: str = Field(
        "vit_base_patch14_dinov2", description="name of a timm model that has patch tokens"
    )
    weights: str | None = Field(
        None,
        description="path or url of its weights, safetensors or torch's; null asks timm's hub",
    )
    width: PositiveInt = Field(
        768, description="numbers of a patch token: the projection heads end in so many"
    )
    image_size: PositiveInt | None = Field(
        None, description="side that images are resized to for it; null for its own"
    )


class FeatureAlignment(Record):
    """Flow features projected onto a teacher's patch tokens, by cosine.

    Source: REPA, arXiv 2410.06940; R-REPA, arXiv 2511.22345; REPA-E, arXiv 2504.10483.
    """

    kind: Literal["features"] = "features"
    teacher: Teacher = Teacher()
    weight: Weight = Field(0.1, description="weight in the objective, for the flow")
    strategy: Literal["forward", "detach", "reverse"] = Field(
        "reverse", description="the pass that features are taken from: R-REPA, section 3"
    )
    reverse: Literal["paper", "straight_through", "exact"] = Field(
        "straight_through",
        description="the reverse pass: as printed, with the generative graph, or token by token",
    )
    passes: Literal["separate", "shared"] = Field(
        "separate",
        description="whether each pass is computed for itself, or what has the same values once: "
        "faster, with gradients that differ by rounding; not for reverse: exact, nor ZeRO-3",
    )
    places: tuple[tuple[int, PositiveInt], ...] = Field(
        ((-1, 1),),
        min_length=1,
        description="pairs (block, layers): features of that block after so many of its layers; "
        "blocks count from the data side, or back from the noise side if negative",
    )
    encoder_weight: Weight = Field(
        0.0,
        description="weight for the encoder (REPA-E: 1.5 beside 0.5 for the flow); forward only",
    )
    head_width: PositiveInt = Field(1024, description="hidden width of a projection head")
    head_layers: PositiveInt = Field(3, description="linear layers of a projection head")
    heads: Literal["shared", "own"] = Field("own", description="one head for all places, or each")


class Objective(Record):
    """The joint objective and which loss reaches which weights (see objectives/routes)."""

    route: Literal[
        "joint", "detached", "frozen_encoder", "frozen", "autoencoder_only", "decoder_only"
    ] = Field("joint", description="gradient routes: a row of the table in objectives/routes")
    reconstruction: Reconstruction = Reconstruction()
    perceptual: Annotated[NoPerceptual | Lpips, Field(discriminator="kind")] = NoPerceptual()
    adversarial: Annotated[NoAdversarial | PatchGan, Field(discriminator="kind")] = NoAdversarial()
    likelihood: Likelihood = Likelihood()
    alignment: Annotated[NoAlignment | FeatureAlignment, Field(discriminator="kind")] = (
        NoAlignment()
    )
