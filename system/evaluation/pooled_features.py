"""One vector per image from any block and layer of a flow: hidden tokens, as a mean over them.

A feature is what a block's transformer holds after some of its layers, on the pass from data to
noise. The flow is frozen, and is not told an image's class: the condition is the null class, or one
and the same class for every image. Images are read in batches, and only features are kept.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import UInt8
from pydantic import Field
from torch import Tensor

from data_pipeline.decoding.image_reader import ImageReader
from data_pipeline.decoding.image_reader import too_many_bad
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import Split
from data_pipeline.shards.manifest import check_manifest
from system.alignment.strategies import Place
from system.alignment.strategies import forward_features
from system.evaluation.subject import Subject
from system.flow.flow import Flow
from system.flow.flow import to_tokens
from system.foundation import streams
from system.foundation.errors import NumericsError
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record


class Look(Record):
    """What of an image is shown to the flow, and under which condition."""

    latent: Literal["mean", "draw"] = Field(
        "mean", description="the posterior's mean, or one draw of it, noise and all"
    )
    told: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="a class that the flow is told for every image alike; null is the null class",
    )
    train_images: PositiveInt | None = Field(
        None, description="training images to look at, drawn by the seed; null takes all"
    )
    seed: int = Field(0, ge=0, description="of latents, fresh weights and what is held back")
    batch: PositiveInt = Field(256, description="images per pass; changes rounding alone")


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Pooled features of a split by name of the weights and place, and labels; on the CPU."""

    pooled: Mapping[tuple[str, Place], Float[Tensor, "N E"]]
    label: Int[Tensor, "N"]


def fresh_flow(subject: Subject, seed: int) -> Flow:
    """The subject's flow with weights as training would start from."""
    flow = subject.model.flow
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(streams.generator(seed, "features/fresh").integers(2**63)))
        fresh = Flow(flow.shape, side=flow.side, token_width=flow.token_width, classes=flow.classes)
    return fresh.to(subject.device).eval().requires_grad_(False)


@torch.no_grad()
def pooled_features(
    subject: Subject,
    flows: Mapping[str, Flow],
    places: Sequence[Place],
    look: Look,
    *,
    manifest: Manifest,
    split: Split,
) -> Features:
    """The mean feature of every image of a split, at every place of each of the flows.

    The flows read the same latents, those of the subject's encoder. Raises DataError for shards of
    other data, or where more samples are bad than the recipe allows; NumericsError for features
    that are not finite, of which a probe would learn that all is one class.
    """
    found: dict[tuple[str, Place], list[Tensor]] = {
        (weights, place): [] for weights in flows for place in places
    }
    labels = []
    for index, image, label in _batches(subject, look, manifest, split):
        tokens = _tokens(subject, image, look, f"features/{split}", index)
        for weights, flow in flows.items():
            hidden = forward_features(flow, tokens, _condition(flow, look, len(tokens)), places)
            for place in places:
                found[weights, place].append(hidden[place].mean(dim=1).cpu())
        labels.append(label)
    pooled = {key: torch.cat(parts) for key, parts in found.items()}
    for (weights, (block, layers)), features in pooled.items():
        if not features.isfinite().all():
            raise NumericsError(
                f"the features of {weights} weights after layer {layers} of block {block} are not "
                "finite; expected finite ones. The weights have most likely diverged: see the "
                "run's losses and skipped updates, and probe an earlier checkpoint"
            )
    return Features(pooled, torch.cat(labels))


def _condition(flow: Flow, look: Look, count: int) -> Float[Tensor, "B V"]:
    if look.told is None:
        return flow.null_condition(count)
    device = next(flow.parameters()).device
    return flow.condition(torch.full((count,), look.told, device=device))


def _batches(
    subject: Subject, look: Look, manifest: Manifest, split: Split
) -> Iterator[tuple[list[int], UInt8[Tensor, "B C H W"], Int[Tensor, "B"]]]:
    """Numbers, images and labels of a split, without the samples that cannot be read."""
    data, manifest = subject.recipe.data, manifest.split(split)
    check_manifest(manifest, data)
    chosen = np.arange(manifest.samples)
    if split == "train" and look.train_images is not None:
        order = streams.generator(look.seed, "features/train_images").permutation(len(chosen))
        chosen = np.sort(order[: look.train_images])
    reader, bad = ImageReader(manifest, data), 0
    for start in range(0, len(chosen), look.batch):
        index = chosen[start : start + look.batch]
        image, broken = reader.read_many(index)
        bad += len(broken)
        if bad > data.max_bad_fraction * len(chosen):
            raise too_many_bad(next(iter(broken.values())), bad, len(chosen), data)
        good = [row for row in range(len(index)) if row not in broken]
        label = torch.from_numpy(manifest.labels[index[good]].astype(np.int64))
        channels_first = torch.from_numpy(image[good].transpose(0, 3, 1, 2).copy())
        yield index[good].tolist(), channels_first, label


def _tokens(
    subject: Subject, image: Tensor, look: Look, stream: str, index: Sequence[int]
) -> Float[Tensor, "B T D"]:
    posterior = subject.model.autoencoder.encode(image.to(subject.device).float() / 127.5 - 1)
    latent = posterior.mean
    if look.latent == "draw":
        noise = streams.normal(look.seed, stream, index, tuple(latent.shape[1:]))
        latent = posterior.sample(noise.to(subject.device))
    return to_tokens(latent, subject.recipe.flow.patch)
