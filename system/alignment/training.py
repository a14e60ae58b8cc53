"""A small teacher of one's own: a vision transformer trained to classify the training split.

Its patch tokens are averaged before the classifier, so that every one of them has to say something
about the class. It never sees a held-out image; on those its accuracy is measured and put into the
file, beside the digest of the data and everything that timm needs to build it again. The same data
and settings give the same weights, to rounding across versions of torch.

Beside the weights lies an overlay that makes a recipe use them.
"""

import json
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import timm
import torch
from jaxtyping import Float
from jaxtyping import Int
from pydantic import Field
from torch import Tensor
from torch import nn
from torch.nn import functional

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.split import read_split
from system.alignment.weights import ARGUMENTS
from system.alignment.weights import MODEL
from system.alignment.weights import write_weights
from system.foundation import storage
from system.foundation import streams
from system.foundation.errors import BadInput
from system.foundation.settings.data import Data
from system.foundation.settings.record import Fraction
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight
from system.foundation.yaml_tree import dump

NAME = "vit_tiny_patch16_224"  # the timm model whose shape is given other numbers
UNIT = 256  # images looked at together where no weight moves


class TeacherTraining(Record):
    """Which teacher to train, on what, and how. The defaults are for the bundled digits."""

    shards: str = Field("shards/digits", description="folder or url with the shards")
    out: str = Field(
        "teachers/digits.safetensors", description="where the weights go; the overlay beside them"
    )
    seed: int = Field(0, ge=0, description="seed of first weights, order and augmentation")
    image_size: PositiveInt | None = Field(
        None, description="side of the images; null for that of the stored squares"
    )
    crop: Literal["none", "adm"] = Field("none", description="as data.crop of the recipe")
    patch: PositiveInt = Field(2, description="pixels per token side")
    width: PositiveInt = Field(64, description="numbers of a token")
    depth: PositiveInt = Field(3, description="layers")
    heads: PositiveInt = Field(4, description="attention heads of a layer")
    epochs: PositiveInt = Field(60, description="passes over the training split")
    batch: PositiveInt = Field(64, description="images per update")
    learning_rate: PositiveFloat = Field(1e-3, description="peak of its one cycle")
    weight_decay: Weight = Field(0.05, description="decoupled weight decay")
    label_smoothing: Fraction = Field(0.1, description="share of a label spread over all classes")
    shift: Weight = Field(0.5, description="pixels by which images are moved, at most")
    flip: bool = Field(False, description="mirror each image with probability one half")
    noise: Weight = Field(0.3, description="spread of noise on pixels in [-1, 1]")
    threads: PositiveInt = Field(1, description="threads of torch; more change the rounding")


@dataclass(frozen=True, slots=True)
class Trained:
    """A teacher that was trained and stored."""

    weights: str
    overlay: str
    accuracy: float  # held-out
    seconds: float

    def summary(self) -> str:
        """What a reader wants to know, and what to do with it."""
        return (
            f"{self.weights}: {self.accuracy:.1%} of held-out images right, "
            f"{self.seconds:.0f} s\nalign a flow with it: give the overlays "
            f"configs/variants/align_reverse.yaml {self.overlay}"
        )


def train_teacher(training: TeacherTraining) -> Trained:
    """Train, measure, and write the weights and their overlay.

    Raises DataError where the shards are not what is asked for, BadInput where the patch does not
    divide the image.
    """
    start = time.monotonic()
    manifest = read_manifest(training.shards)
    data = _data(training, manifest.channels, len(manifest.class_names), manifest.image_size)
    train, held_out = (read_split(manifest.split(name), data) for name in ("train", "held_out"))
    arguments = _arguments(training, data)
    threads = torch.get_num_threads()
    torch.set_num_threads(training.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            model = timm.create_model(NAME, num_classes=data.classes, **arguments)
        _fit(model, _to_float(train.image), train.label, training)
        accuracy = _accuracy(model, _to_float(held_out.image), held_out.label)
    finally:
        torch.set_num_threads(threads)
    metadata = {
        MODEL: NAME,
        ARGUMENTS: json.dumps(arguments),
        "data_digest": manifest.digest,
        "held_out_accuracy": f"{accuracy:.4f}",
        "training": training.model_dump_json(),
    }
    write_weights(training.out, model.state_dict(), metadata)
    overlay = _write_overlay(training)
    return Trained(training.out, overlay, accuracy, time.monotonic() - start)


def _data(training: TeacherTraining, channels: int, classes: int, stored: int | None) -> Data:
    """The recipe's data section, as far as whole splits are concerned."""
    size = training.image_size or stored
    if size is None or size % training.patch:
        raise BadInput(
            f"patch={training.patch} does not divide images of side {size} in {training.shards}; "
            "give an image_size that it divides (and crop=adm where images are larger)"
        )
    return Data(
        shards=training.shards,
        image_size=size,
        image_channels=1 if channels == 1 else 3,
        classes=classes,
        crop=training.crop,
    )


def _arguments(training: TeacherTraining, data: Data) -> dict[str, int | str | bool]:
    return {
        "img_size": data.image_size,
        "patch_size": training.patch,
        "in_chans": data.image_channels,
        "embed_dim": training.width,
        "depth": training.depth,
        "num_heads": training.heads,
        "class_token": False,
        "global_pool": "avg",
        "fc_norm": False,  # the norm comes before the average: tokens are normed themselves
    }


def _fit(
    model: nn.Module,
    image: Float[Tensor, "N C H W"],
    label: Int[Tensor, "N"],
    training: TeacherTraining,
) -> None:
    """AdamW on one cycle of the learning rate."""
    batches = -(-len(image) // training.batch)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.learning_rate, total_steps=training.epochs * batches
    )
    model.train()
    for epoch in range(training.epochs):
        generator = streams.generator(training.seed, "teacher/epoch", epoch)
        order = torch.from_numpy(generator.permutation(len(image)))
        for chosen in order.split(training.batch):
            logits = model(_augmented(image[chosen], training, generator))
            loss = functional.cross_entropy(
                logits, label[chosen], label_smoothing=training.label_smoothing
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    model.eval()


def _augmented(
    image: Float[Tensor, "B C H W"], training: TeacherTraining, generator: np.random.Generator
) -> Float[Tensor, "B C H W"]:
    """Images moved, perhaps mirrored, and with noise; what moves in repeats the edge."""
    reach = 2 * training.shift / image.shape[-1]  # the grid runs from -1 to 1
    offset = torch.from_numpy(generator.uniform(-reach, reach, size=(len(image), 2, 1)))
    place = torch.cat([torch.eye(2).expand(len(image), 2, 2), offset.float()], dim=2)
    grid = functional.affine_grid(place, list(image.shape), align_corners=False)
    moved = functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    if training.flip:
        is_mirrored = torch.from_numpy(generator.random(len(image)) < 0.5)
        moved = torch.where(is_mirrored[:, None, None, None], moved.flip(-1), moved)
    noise = torch.from_numpy(generator.standard_normal(tuple(moved.shape), np.float32))
    return moved + training.noise * noise


@torch.no_grad()
def _accuracy(model: nn.Module, image: Float[Tensor, "N C H W"], label: Int[Tensor, "N"]) -> float:
    guessed = torch.cat([model(unit).argmax(dim=1) for unit in image.split(UNIT)])
    return (guessed == label).float().mean().item()


def _to_float(image: Tensor) -> Float[Tensor, "N C H W"]:
    return image.float() / 127.5 - 1


def _write_overlay(training: TeacherTraining) -> str:
    """The settings that make a recipe look at this teacher, as an overlay beside the weights."""
    url = training.out.removesuffix(".safetensors") + ".yaml"
    teacher = {"model": NAME, "weights": training.out, "width": training.width}
    said = "# Overlay: align with the teacher beside this file. Lay it over an align_* variant.\n"
    tree = {"objective": {"alignment": {"teacher": teacher | {"image_size": None}}}}
    storage.write_bytes(url, (said + dump(tree)).encode())
    return url
