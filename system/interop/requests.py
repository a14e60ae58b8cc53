"""What the commands `jobs/import_weights.py` and `jobs/export_weights.py` are asked, and how they
answer.
"""

from pathlib import Path
from typing import Annotated
from typing import Any
from typing import Literal

from pydantic import Field
from pydantic import model_validator
from torch import Tensor

from system.engine.checkpoints import STATE
from system.engine.checkpoints import read_averaged
from system.engine.checkpoints import read_state
from system.engine.released import read_released
from system.evaluation.subject import find_checkpoint
from system.foundation import storage
from system.foundation.config import resolve
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight
from system.interop import ml_starflow
from system.interop import ml_tarflow
from system.interop.adoption import Adopted
from system.interop.adoption import AutoencoderWeights
from system.interop.adoption import adopt_autoencoder
from system.interop.adoption import adopt_flow
from system.interop.adoption import part_of
from system.interop.adoption import read_autoencoder
from system.interop.adoption import run_name
from system.interop.adoption import write_checkpoint
from system.interop.autoencoder_kl import load_autoencoder_kl
from system.interop.autoencoder_kl import save_autoencoder_kl
from system.interop.flow_weights import FlowWeights
from system.interop.hub import write_hub
from system.interop.weights_file import read_tensors
from system.interop.weights_file import write_tensors
from system.objectives.routes import ROUTES

Format = Literal["hub", "ml_tarflow", "ml_starflow", "autoencoder_kl"]
OF_FLOWS = frozenset({"channels", "size", "head_width", "autoencoder", "noise", "recipe"})
UNSAID = frozenset({"use_softplus", "soft_clip", "seq_order"})  # in a file of ml-starflow
KEYS: dict[str, frozenset[str]] = {
    "hub": frozenset(),
    "ml_tarflow": OF_FLOWS,
    "ml_starflow": OF_FLOWS | UNSAID,
    "autoencoder_kl": frozenset({"size", "recipe"}),
}
CHECKPOINTS = "checkpoints"  # in a run's folder
IMAGE_SIZE = 256  # of an autoencoder, which knows none


class Import(Record):
    """Weights of another code base to take over."""

    format: Format = Field("ml_tarflow", description="the code base that wrote them")
    source: str = Field(
        "model.pth", description="file or url of weights; for hub and autoencoder_kl their folder"
    )
    out: str = Field("imported", description="folder or url for the checkpoint")
    channels: PositiveInt | None = Field(
        None, description="channels that a flow models; one of channels and size tells its patch"
    )
    size: PositiveInt | None = Field(
        None, description="side that a flow models, in cells; for an autoencoder, of images (256)"
    )
    head_width: PositiveInt | None = Field(
        None, description="width of an attention head; null takes 64, or what rotary positions say"
    )
    use_softplus: bool | None = Field(
        None, description="ml_starflow, which must be told: scales by softplus, else by exp"
    )
    soft_clip: Weight | None = Field(
        None, description="ml_starflow, which must be told: bound of scale and shift, 0 for none"
    )
    seq_order: Literal["L2R", "R2L"] | None = Field(
        None, description="ml_starflow, which must be told: L2R has the deep block in raster order"
    )
    autoencoder: str | None = Field(
        None,
        description="of the latents that a flow models: a folder in diffusers' layout, a run, a "
        "checkpoint, released weights; null for a flow of pixels",
    )
    noise: Weight | None = Field(
        None,
        description="spread of the Gaussian noise that a flow was trained with, on pixels or "
        "scaled latents; on pixels 0 means uniform dequantisation",
    )
    recipe: str | None = Field(
        None, description="recipe for the sections that weights do not tell: run, data, evaluation"
    )

    @model_validator(mode="after")
    def _keys_have_their_format(self) -> "Import":
        given = {key for key in OF_FLOWS | UNSAID if getattr(self, key) is not None}
        if strange := sorted(given - KEYS[self.format]):
            raise ValueError(
                f"{', '.join(strange)} says nothing of format {self.format}: expected of these "
                f"only {', '.join(sorted(KEYS[self.format])) or 'none'}"
            )
        missing = sorted(UNSAID - given)
        if self.format == "ml_starflow" and missing:
            raise ValueError(
                f"format ml_starflow needs {', '.join(missing)}, which its files do not tell: look "
                "into the configuration that it was trained with (its 256 x 256 one: true, 4, L2R)"
            )
        return self


class Export(Record):
    """A checkpoint to write for others."""

    format: Format = Field("hub", description="the code base that is to read it")
    checkpoint: str = Field(
        "runs/digits",
        description="a run's folder (its newest committed checkpoint), a checkpoint's own folder, "
        "or released weights",
    )
    out: str = Field(
        "released",
        description="folder or url; for ml_tarflow and ml_starflow a file, .pth or .safetensors",
    )
    license: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="hub: licence named on the card, as hubs name them; null leaves it open"
    )

    @model_validator(mode="after")
    def _only_cards_name_licences(self) -> "Export":
        if self.license is not None and self.format != "hub":
            raise ValueError(f"license is for format hub; a file of {self.format} has no card")
        return self


def import_weights(request: Import) -> list[str]:
    """Read the weights, write a checkpoint of ours; what to say about it. Raises BadInput."""
    adopted = _adopted(request)
    origin: dict[str, Any] = {"format": request.format, "source": request.source}
    if request.format == "hub":
        origin["origin"] = read_state(request.source).get("origin")  # the release's own
    write_checkpoint(adopted, request.out, origin=origin)
    recipe, count = adopted.recipe, sum(weight.numel() for weight in adopted.weights.values())
    return [
        f"{request.out}: {count:,} numbers; flow of {list(recipe.flow.depths)} layers at width "
        f"{recipe.flow.width}, {recipe.tokens} tokens of {recipe.token_width}; images of "
        f"{recipe.data.image_size} x {recipe.data.image_size} x {recipe.data.image_channels}",
        f"start a run: {' '.join(_starts(adopted.recipe, request.out))}",
    ]


def _starts(recipe: Recipe, url: str) -> list[str]:
    """The settings by which a run starts from what was taken over."""
    keys = {"flow": recipe.objective.route != "autoencoder_only"}
    keys["autoencoder"] = isinstance(recipe.autoencoder, Convolutional)
    return [f"{key}.weights={url}" for key, has in keys.items() if has]


def export_weights(request: Export) -> list[str]:
    """Write the checkpoint's weights; what to say about it. Raises BadInput."""
    _check_out(request.out)
    if request.format == "hub":
        return write_hub(request.checkpoint, request.out, licence=request.license)
    recipe, weights, _ = read_averaged(find_checkpoint(request.checkpoint))
    if request.format == "autoencoder_kl":
        if not isinstance(recipe.autoencoder, Convolutional):
            raise BadInput(f"{request.checkpoint} models pixels: it has no autoencoder to export")
        save_autoencoder_kl(request.out, recipe.autoencoder, part_of(weights, "autoencoder."))
        return [request.out]
    if "flow" not in ROUTES[recipe.objective.route].trained:
        raise BadInput(
            f"{request.checkpoint} is of a run that trained no flow (objective.route="
            f"{recipe.objective.route}): there is none to export"
        )
    flow = _flow_of(recipe, weights)
    if request.format == "ml_tarflow":
        state, arguments = ml_tarflow.to_ml_tarflow(flow), ml_tarflow.model_arguments(flow)
    else:
        state, arguments = ml_starflow.to_ml_starflow(flow), ml_starflow.model_arguments(flow)
    write_tensors(request.out, state)
    said = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return [request.out, f"transformer_flow.Model({said})"]


def _check_out(url: str) -> None:
    """Raise BadInput for a run's folder or a checkpoint's: with a config.json in it, it would be
    taken for what was exported once, whatever the run has come to since."""
    if any(storage.exists(storage.join(url, name)) for name in (STATE, CHECKPOINTS)):
        raise BadInput(f"out={url} is the folder of a run or a checkpoint; expected one of its own")


def _adopted(request: Import) -> Adopted:
    if request.format == "hub":
        return Adopted(*read_released(request.source))
    start_from = None
    if request.recipe is not None:
        start_from = resolve(Path(request.recipe), []).recipe
    told: dict[str, Any] = {
        "name": run_name(request.out) if start_from is None else start_from.run.name,
        "start_from": start_from,
    }
    if request.format == "autoencoder_kl":
        size = request.size or (start_from.data.image_size if start_from else IMAGE_SIZE)
        found = AutoencoderWeights(request.source, *load_autoencoder_kl(request.source))
        return adopt_autoencoder(found, size=size, **told)
    flow = _read_flow(request)
    autoencoder = None if request.autoencoder is None else read_autoencoder(request.autoencoder)
    return adopt_flow(flow, autoencoder=autoencoder, noise=request.noise, **told)


def _read_flow(request: Import) -> FlowWeights:
    state = _read_file(request)
    known: dict[str, Any] = {"size": request.size, "channels": request.channels}
    if request.head_width is not None:
        known["head_width"] = request.head_width
    try:
        if request.format == "ml_tarflow":
            return ml_tarflow.load_ml_tarflow(state, **known)
        assert request.use_softplus is not None
        assert request.soft_clip is not None
        assert request.seq_order is not None
        unsaid = ml_starflow.Unsaid(request.use_softplus, request.soft_clip, request.seq_order)
        return ml_starflow.load_ml_starflow(state, unsaid, **known)
    except CheckpointError as error:
        raise CheckpointError(f"source={request.source}: {error}") from error


def _read_file(request: Import) -> dict[str, Tensor]:
    if storage.list_names(request.source) not in ([], [request.source.rpartition("/")[2]]):
        raise CheckpointError(
            f"source={request.source} is a folder; {request.format} keeps its weights in one file: "
            "expected its path or url"
        )
    return read_tensors(request.source)


def _flow_of(recipe: Recipe, weights: dict[str, Tensor]) -> FlowWeights:
    return FlowWeights(
        shape=recipe.flow,
        side=recipe.latent_size // recipe.flow.patch,
        channels=recipe.latent_channels,
        classes=recipe.data.classes,
        weights=part_of(weights, "flow."),
    )
