"""The frozen networks of a recipe, what they make of images, and whether a feature set has that.

A feature set (data_pipeline.features) spares training their passes. It serves a recipe where it is
of the same images, cut alike, by networks of the same weights.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import xxhash
from jaxtyping import Float
from torch import Tensor
from torch import nn

from data_pipeline.features.feature_set import FeatureSet
from data_pipeline.features.feature_set import open_features
from data_pipeline.features.record import Feature
from data_pipeline.features.record import FeatureRecord
from data_pipeline.features.record import Kind
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import Split
from system.alignment.teacher import Teacher
from system.autoencoder.autoencoder import Autoencoder
from system.autoencoder.build import build_autoencoder
from system.foundation.errors import DataError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.objective import FeatureAlignment
from system.train.warm_start import warm_start

CPU = torch.device("cpu")


def build_teacher(recipe: Recipe, device: torch.device) -> Teacher | None:
    """The frozen teacher that features are aligned with, on `device`; None without alignment.

    On a GPU it computes in the engine's precision: its rounding is far below what heads leave.
    Raises BadInput where the teacher's weights are absent or of no use.
    """
    alignment = recipe.objective.alignment
    if not isinstance(alignment, FeatureAlignment):
        return None
    is_fast_in_bf16 = device.type == "cuda" and recipe.engine.precision == "bf16"
    return Teacher(
        alignment.teacher,
        side=recipe.latent_size // recipe.flow.patch,
        image_channels=recipe.data.image_channels,
        dtype=torch.bfloat16 if is_fast_in_bf16 else torch.float32,
    ).to(device)


def build_frozen_autoencoder(recipe: Recipe) -> Autoencoder | None:
    """The autoencoder with the weights that training would start from, on the CPU; None for pixels.

    Raises CheckpointError where `autoencoder.weights` does not fit.
    """
    if "moments" not in recipe.frozen_features:
        return None
    with torch.random.fork_rng(devices=[]):
        autoencoder = build_autoencoder(recipe.autoencoder, recipe.data.image_channels)
    assert isinstance(autoencoder, Autoencoder)
    assert recipe.autoencoder.weights is not None, "a recipe that freezes names what"
    autoencoder.requires_grad_(False).eval()
    warm_start(autoencoder, recipe.autoencoder.weights)
    return autoencoder


@dataclass(frozen=True, slots=True, eq=False)
class FrozenNetworks:
    """What computes a recipe's frozen features, on its device and in its arithmetic."""

    autoencoder: Autoencoder | None
    teacher: Teacher | None
    features: Mapping[str, Feature]  # what they make of an image

    @torch.inference_mode()
    def features_of(self, image: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B ..."]]:
        """The features of images in [-1, 1], float32, by name."""
        made = {}
        if self.autoencoder is not None:
            made["moments"] = self.autoencoder.moments(image)
        if self.teacher is not None:
            made["teacher"] = self.teacher(image)
        return made


def build_frozen_networks(
    recipe: Recipe, device: torch.device, kinds: Mapping[str, Kind]
) -> FrozenNetworks:
    """The frozen networks of a recipe, their features to be stored as `kinds` says.

    Raises BadInput where weights are absent or do not fit.
    """
    autoencoder, teacher = build_frozen_autoencoder(recipe), build_teacher(recipe, CPU)
    weights = digests(autoencoder, teacher)
    arithmetic = {"moments": "float32", "teacher": "float32"}
    if autoencoder is not None and recipe.engine.precision == "bf16":
        autoencoder.to(torch.bfloat16)  # as the engine does
        arithmetic["moments"] = "bfloat16"
    if teacher is not None and device.type == "cuda":
        teacher = build_teacher(recipe, device)
        assert teacher is not None
        arithmetic["teacher"] = str(teacher.dtype).removeprefix("torch.")
    features = {
        name: Feature(
            shape=shape_of(recipe, name),
            dtype=kinds[name],
            computed_in=arithmetic[name],
            weights=weights[name],
        )
        for name in recipe.frozen_features
    }
    return FrozenNetworks(autoencoder and autoencoder.to(device), teacher, features)


def record_for(
    recipe: Recipe, images: Mapping[Split, str], features: Mapping[str, Feature]
) -> FeatureRecord:
    """What a set of these features says of itself; `images` are digests of their splits."""
    return FeatureRecord(
        images=images,
        image_size=recipe.data.image_size,
        image_channels=recipe.data.image_channels,
        crop=recipe.data.crop,
        mirrored=recipe.data.flip,
        features=features,
    )


def fitting_features(
    recipe: Recipe, train: Manifest, autoencoder: nn.Module | None
) -> FeatureSet | None:
    """The feature set that `data.features` names; None where it names none.

    `autoencoder` has the weights that training starts from, in float32. Raises one DataError with
    all in which the set is not what the recipe needs.
    """
    url = recipe.data.features
    if url is None:
        return None
    found = open_features(url, "train")
    weights = digests(autoencoder, build_teacher(recipe, CPU))
    features = {
        name: Feature(
            shape=shape_of(recipe, name), dtype="float32", computed_in="", weights=weights[name]
        )
        for name in recipe.frozen_features
    }
    wanted = record_for(recipe, {"train": train.digest}, features)
    if problems := found.record.lacks(wanted):
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise DataError(
            f"data.features: the set at {url} is not of this recipe's images and frozen networks:"
            f"{listed}\nCompute them with `python jobs/precompute_features.py` and this recipe "
            "into another folder, set data.features=null, or take the changes back"
        )
    return FeatureSet(found.manifest, found.record, recipe.frozen_features)


def digests(autoencoder: nn.Module | None, teacher: Teacher | None) -> dict[str, str]:
    """By feature, the digest of the weights that decide it, and of how the teacher looks at images.

    The weights have to be in float32 yet.
    """
    found = {}
    if isinstance(autoencoder, Autoencoder):
        found["moments"] = _digest(autoencoder.encoder, {})
    if teacher is not None:
        how: dict[str, object] = {
            name: getattr(teacher, name) for name in ("size", "side", "resampling")
        }
        how |= {name: teacher.get_buffer(name).flatten().tolist() for name in ("mean", "std")}
        found["teacher"] = _digest(teacher.model, how)
    return found


def _digest(module: nn.Module, how: Mapping[str, object]) -> str:
    """xxh3-128 of every tensor with its name and shape, hexadecimal."""
    state = xxhash.xxh3_128(json.dumps(how, sort_keys=True).encode())
    for name, tensor in sorted(module.state_dict().items()):
        state.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


def shape_of(recipe: Recipe, name: str) -> tuple[int, ...]:
    """The shape of a frozen feature of one image."""
    side = recipe.latent_size
    if name == "teacher":
        alignment = recipe.objective.alignment
        assert isinstance(alignment, FeatureAlignment)
        return ((side // recipe.flow.patch) ** 2, alignment.teacher.width)
    shape = recipe.autoencoder
    assert isinstance(shape, Convolutional)
    return (shape.latent_channels * (2 if shape.posterior.kind == "learned" else 1), side, side)
