"""The code length of every held-out image under a flow, image by image, with the bound it is.

Per dimension of the latent z ~ q(z | x), given the image's class (the null class of a flow without
any), and as a mean over `draws` of them:

    bits = E_q[-log2 p(z | class)] / dims        rate = bits - H(q(z | x)) / dims

What these bound, `code_lengths` says.

Written as `eval/<images_seen>-lengths.safetensors`: `bits_per_dim`, `rate_bits_per_dim` (float64),
`label` and `index` of every image, and in the metadata the protocol and what the rate bounds.
"""

import json
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from jaxtyping import Float64
from jaxtyping import Int
from pydantic import Field
from safetensors.torch import save
from torch import Tensor

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.code_lengths import bound_of
from system.evaluation.code_lengths import entropy_bits
from system.evaluation.encoding import encode
from system.evaluation.encoding import latent_noise
from system.evaluation.measured import Measured
from system.evaluation.measured import device_of
from system.evaluation.passes import PASS
from system.evaluation.requests import run_folder_of
from system.evaluation.sources.shards import ShardImages
from system.evaluation.sources.shards import open_shards
from system.evaluation.sources.shards import shard_images
from system.evaluation.subject import Subject
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_subject
from system.flow.flow import Flow
from system.flow.flow import to_tokens
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import NumericsError
from system.foundation.settings.record import PositiveInt
from system.objectives.likelihood import bits_per_dim

SHOWN = 5  # images of the longest codes that are named


class Measuring(Measured):
    """A checkpoint whose held-out images to measure one by one."""

    images: PositiveInt | None = Field(
        None, description="held-out images, drawn by the seed; null takes all"
    )
    draws: PositiveInt = Field(4, description="posterior draws of an image")
    seed: int = Field(0, ge=0, description="of the draws")


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """Bits per dimension of every image."""

    bits: Float64[Tensor, "N"]
    rate: Float64[Tensor, "N"]
    label: Int[Tensor, "N"]


@torch.no_grad()
def lengths(subject: Subject, held_out: ShardImages, *, draws: int, seed: int) -> Lengths:
    """The code length of each image. Raises NumericsError where one is not finite."""
    source, recipe, flow = open_shards(held_out), subject.recipe, subject.model.flow
    dims = recipe.tokens * recipe.token_width
    bits, rates, labels = [], [], []
    for start in range(0, held_out.count, PASS):
        index = range(start, min(start + PASS, held_out.count))
        label = source.labels(index)
        posterior = encode(subject, source.images(index))
        condition = _condition(flow, label.to(subject.device))
        log_prob = torch.stack(
            [
                flow.log_prob(
                    to_tokens(
                        posterior.sample(latent_noise(subject, seed, index, draw)),
                        recipe.flow.patch,
                    ),
                    condition,
                ).double()
                for draw in range(draws)
            ]
        ).mean(dim=0)
        bits.append(bits_per_dim(-log_prob, dims).cpu())
        rates.append(bits[-1] - entropy_bits(posterior).cpu())
        labels.append(label)
    found = Lengths(torch.cat(bits), torch.cat(rates), torch.cat(labels))
    broken = int((~found.bits.isfinite()).sum())
    if broken:
        raise NumericsError(
            f"found {broken} of {held_out.count} held-out images whose log-density is not finite; "
            "expected none. The weights have most likely diverged: see the run's losses and "
            "skipped updates, and measure an earlier checkpoint"
        )
    return found


def _condition(flow: Flow, label: Int[Tensor, "B"]) -> Float[Tensor, "B V"]:
    return flow.condition(label) if flow.shape.is_conditional else flow.null_condition(len(label))


def write_lengths(checkpoint_url: str, request: Measuring, *, output: str) -> tuple[str, Lengths]:
    """Measure a checkpoint and write the file; its url and what stands in it.

    Raises BadInput where it has no flow, DataError for shards of other data, CheckpointError for a
    damaged checkpoint.
    """
    with exact_arithmetic(request.threads or torch.get_num_threads()):
        subject = read_subject(checkpoint_url, device_of(request.device))
        if not subject.has_flow:
            raise BadInput(
                f"checkpoint={checkpoint_url} is of a run that trained no flow (objective.route="
                f"{subject.recipe.objective.route}): it has no density. Expected one that trained "
                "one"
            )
        data = subject.recipe.data
        data = data.model_copy(update={"shards": request.shards or data.shards})
        held_out = shard_images(
            data, "held_out", count=request.images, choice="seeded", seed=request.seed
        )
        found = lengths(subject, held_out, draws=request.draws, seed=request.seed)
    told = {
        "bound": bound_of(subject.recipe.autoencoder),
        "protocol": json.dumps(
            {
                "images": held_out.model_dump(mode="json", exclude={"url"}),
                "draws": request.draws,
                "seed": request.seed,
                "averaging_decay": subject.averaging_decay,
                "images_seen": subject.images_seen,
            },
            sort_keys=True,
        ),
    }
    arrays = {
        "bits_per_dim": found.bits,
        "rate_bits_per_dim": found.rate,
        "label": found.label,
        "index": torch.arange(held_out.count),
    }
    name = f"{subject.images_seen:012d}-lengths.safetensors"
    place = storage.join(output, "eval", name)
    storage.write_bytes(place, save(arrays, told))
    return place, found


def lengths_to_table(request: Measuring) -> str:
    """Measure, write, and tell means with standard errors and the images of the longest codes."""
    checkpoint = find_checkpoint(request.checkpoint)
    output = request.out or run_folder_of(checkpoint)
    place, found = write_lengths(checkpoint, request, output=output)
    lines = [
        f"{name:<18} {values.mean():.6g} ± {standard_error(values):.2g}, "
        f"from {values.min():.4g} to {values.max():.4g}"
        for name, values in (("bits_per_dim", found.bits), ("rate_bits_per_dim", found.rate))
    ]
    longest = found.bits.argsort(descending=True)[:SHOWN].tolist()
    lines += [
        f"longest: image {i} of class {found.label[i]}, {found.bits[i]:.4g} bits" for i in longest
    ]
    return "\n".join([*lines, place])


def standard_error(values: Float[Tensor, "N"]) -> float:
    """Of the mean over images; not a number for one image alone."""
    return values.std().item() / math.sqrt(len(values))
