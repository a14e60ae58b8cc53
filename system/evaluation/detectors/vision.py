"""Any timm model as a detector: DINOv2 for FD-DINOv2, CLIP, or a classifier.

    choice = dinov2_choice("weights/dinov2_vitl14_pretrain.pth")
    detector = open_detector(choice, device="cuda")

Features are what the model's classifier would see: a transformer's class token after its last norm,
a convolutional network's pooled grid. Logits are there where the weights have a classifier. A timm
model has no spatial features.

DINOv2 is trained at 518 pixels and looked at with 224: its position embeddings are interpolated,
and timm does that otherwise than the code that published FD-DINOv2 used. `positions` says which.

Source: Stein et al. 2023, arXiv 2306.04675; Karras et al. 2024, arXiv 2312.02696 (EDM2): ViT-L/14
at 224 pixels, bicubic with antialiasing, class token.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from jaxtyping import UInt8
from timm.data import resolve_model_data_config
from timm.models import get_pretrained_cfg
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.alignment.vision_model import build
from system.alignment.vision_model import channels_of
from system.alignment.vision_model import per_channel
from system.alignment.weights import WeightsFile
from system.alignment.weights import check_name
from system.alignment.weights import decoded
from system.evaluation.detectors.choice import Positions
from system.evaluation.detectors.choice import VisionChoice
from system.evaluation.detectors.detector import PASSES
from system.evaluation.detectors.detector import Detector
from system.evaluation.detectors.detector import Seen
from system.evaluation.detectors.detector import look_in_passes
from system.evaluation.detectors.resize import Rule
from system.evaluation.detectors.resize import resized
from system.evaluation.detectors.weights import PublishedFile
from system.evaluation.detectors.weights import read_published
from system.foundation.errors import BadInput
from system.foundation.errors import DataError

KEY = "detector"  # what errors speak of
DINOV2 = "vit_large_patch14_dinov2"
OFFSET = 0.1  # of a cell, that DINOv2's code adds to the size of the grid it interpolates to


class VisionDetector(Detector):
    """A timm model with its weights, and how images are made ready for it."""

    def __init__(self, model: nn.Module, choice: VisionChoice, device: str = "cpu") -> None:
        self.name, self.digest, self.resize = choice.name, choice.digest, choice.resize
        self.choice = choice
        self.device = torch.device(device)
        self.channels = channels_of(model)
        self.model: Any = model.eval().requires_grad_(False).to(self.device)
        self.mean = per_channel(choice.mean, self.channels).to(self.device)
        self.std = per_channel(choice.std, self.channels).to(self.device)

    def look(self, image: UInt8[Tensor, "N C H W"]) -> Seen:
        """Features, and logits if the weights have a classifier; grey is shown as equal channels.

        Raises DataError for channels it does not know, and for another size where it does not
        resize.
        """
        count, channels, height, width = image.shape
        side = self.choice.size
        fits = self.choice.resize != "none" or (height, width) == (side, side)
        if channels not in (1, self.channels) or not fits:
            raise DataError(
                f"images have {channels} channels and {height}x{width} pixels; {self.name} expects "
                f"{self.channels} channels (or 1) and, with resize none, {side}x{side} pixels"
            )
        shown = image.expand(count, self.channels, -1, -1)
        return look_in_passes(shown, self._look, PASSES[self.device.type])

    def _look(self, shown: UInt8[Tensor, "B C H W"]) -> Seen:
        level = resized(shown.to(self.device), self.choice.size, self.choice.resize)
        found = self.model.forward_features((level / 255 - self.mean) / self.std)
        features = self.model.forward_head(found, pre_logits=True).flatten(1)
        nothing = features.new_zeros(len(features), 0)
        logits = self.model.forward_head(found) if self.choice.classes else nothing
        return Seen(features.float().cpu(), nothing.cpu(), logits.float().cpu())


def vision_choice(
    model: str,
    weights: str,
    *,
    size: int | None = None,
    resize: Rule = "bicubic_antialias",
    positions: Positions = "timm",
    expected: str | None = None,
) -> VisionChoice:
    """The choice of a timm model whose weights lie at a path or url; `size` None is its own.

    `expected` is the sha256 that the file has to have; None takes any that fits the model, whose
    own digest the choice and every protocol then say. Raises BadInput for a model that timm does
    not know, a file that is absent, damaged or of another model, a size that it cannot look at.
    """
    check_name(model, KEY)
    file, digest = _read(model, weights, expected)
    classes = _classes(model, file)
    built, side = build(model, size, file, classes, KEY)
    if positions == "dinov2":
        _positions_as_dinov2(built, file)
    config = resolve_model_data_config(built)
    return VisionChoice(
        model=model,
        weights=weights,
        digest=digest,
        size=side,
        resize=resize,
        classes=classes,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        positions=positions,
    )


def dinov2_choice(weights: str, expected: str | None = None) -> VisionChoice:
    """FD-DINOv2 as EDM2 measures it: ViT-L/14 at 224 pixels, with DINOv2's own positions."""
    return vision_choice(DINOV2, weights, size=224, positions="dinov2", expected=expected)


def open_vision(choice: VisionChoice, device: str = "cpu") -> VisionDetector:
    """The detector of a choice. Raises BadInput where its weights are absent or others."""
    file, _ = _read(choice.model, choice.weights, choice.digest)
    model, _ = build(choice.model, choice.size, file, choice.classes, KEY)
    if choice.positions == "dinov2":
        _positions_as_dinov2(model, file)
    return VisionDetector(model, choice, device)


def _read(model: str, url: str, expected: str | None) -> tuple[WeightsFile, str]:
    content, digest = read_published(url, _published(model), expected)
    return decoded(url, content, model, KEY), digest


def _published(model: str) -> PublishedFile:
    """What timm says of a model's weights; it vouches for no digest."""
    config = get_pretrained_cfg(model, allow_unregistered=True)
    page = config and config.hf_hub_id and f"https://huggingface.co/{config.hf_hub_id}"
    places = tuple(place for place in (config and config.url, page) if place)
    names = tuple(place.rsplit("/", 1)[-1] for place in places if place != page)
    return PublishedFile(
        names=names or (f"the weights of {model} (safetensors, or torch's .pth)",),
        bytes=None,
        sha256=None,
        licence=(config and config.license) or "unknown",
        origin=places or ("whoever trained it",),
    )


def _classes(model: str, file: WeightsFile) -> int:
    """Classes that the file's classifier tells, 0 if it has none under timm's name for it."""
    config = get_pretrained_cfg(model, allow_unregistered=True)
    name = config.classifier if config is not None else None
    weight: Any = file.tensors.get(f"{name}.weight") if isinstance(name, str) else None
    return int(weight.shape[0]) if isinstance(weight, Tensor) else 0


def _positions_as_dinov2(model: nn.Module, file: WeightsFile) -> None:
    """Put the file's position embeddings in, interpolated to the model's grid as DINOv2 does it.

    Bicubic without antialiasing, by a factor that counts a tenth of a cell too much: DINOv2's code
    did so to be safe from rounding, and its published features follow.
    """
    stored, grid = file.tensors.get("pos_embed"), getattr(model, "patch_embed", None)
    wanted = getattr(model, "pos_embed", None)
    prefix = getattr(model, "num_prefix_tokens", 0)
    if stored is None or wanted is None or grid is None or prefix != 1 or stored.ndim != 3:
        raise BadInput(
            f"{KEY}.positions=dinov2 is for DINOv2 models with a class token and no registers, "
            f"such as {DINOV2}; take positions=timm for this one"
        )
    model.pos_embed = nn.Parameter(
        torch.cat([stored[:, :1], _interpolated(stored[:, 1:].float(), grid.grid_size[0])], dim=1)
    )


def _interpolated(stored: Float[Tensor, "1 P E"], side: int) -> Float[Tensor, "1 p E"]:
    own = round(stored.shape[1] ** 0.5)
    if own == side:
        return stored
    square = rearrange(stored, "1 (h w) e -> 1 e h w", h=own)
    factor = (side + OFFSET) / own
    found = functional.interpolate(square, scale_factor=(factor, factor), mode="bicubic")
    return rearrange(found, "1 e h w -> 1 (h w) e")
