"""Pictures out of a flow: image i is a function of the weights, the label and (seed, i) alone.

Noise becomes tokens (guided, at a temperature), then a step of denoising if it is asked for, then
the decoder's image. No step is taken twice, and no image is drawn again.
"""

import io
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from einops import repeat
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from system.evaluation.passes import PASS
from system.evaluation.protocol import Drawing
from system.evaluation.rounding import to_uint8
from system.evaluation.subject import Subject
from system.flow.denoising import denoise
from system.flow.flow import to_latent
from system.flow.sampler import condition_of
from system.flow.streaming import Batch
from system.flow.streaming import streamed
from system.foundation import streams
from system.foundation.errors import BadInput
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import Pixels

GRID_SIDE = 48  # pixels that a picture has at least in a grid, so that a person can see it
GRID_GAP = 2
GRID_GREY = 128


@dataclass(frozen=True, slots=True)
class Wanted:
    """The images of one pass: their indices, and the label of each or no class."""

    index: Sequence[int]
    label: Int[Tensor, "B"] | None


def draw(
    subject: Subject,
    drawing: Drawing,
    index: Sequence[int],
    label: Int[Tensor, "N"] | None,
) -> UInt8[Tensor, "N C H W"]:
    """The images of these indices and labels (or of no class), in 8 bits.

    They are drawn in passes of a fixed size, the last one filled up. Raises NumericsError for
    images that are not finite: they are never drawn again silently. Raises BadInput where guidance
    has nothing to lead away from, or denoising no noise to take away.
    """
    assert label is None or len(index) == len(label), f"{len(index)} indices, {label} labels"
    starts = range(0, len(index), PASS)
    wanted = []
    for start in starts:
        filled = [min(place, len(index) - 1) for place in range(start, start + PASS)]
        chosen = [index[place] for place in filled]
        wanted.append(Wanted(chosen, None if label is None else label[filled]))
    drawn = draw_pixels(subject, drawing, wanted)
    return torch.cat(
        [
            to_uint8(pixels[: len(index) - start])
            for start, pixels in zip(starts, drawn, strict=True)
        ]
    )


def draw_pixels(
    subject: Subject, drawing: Drawing, wanted: Sequence[Wanted], in_flight: int = 1
) -> Iterator[Float[Tensor, "B C H W"]]:
    """The decoder's images of each pass, in [-1, 1] and beyond, with so many passes under way."""
    for latent in draw_latents(subject, drawing, wanted, in_flight):
        with torch.no_grad():
            pixels = subject.model.autoencoder.decode(latent)
        yield pixels


def draw_latents(
    subject: Subject, drawing: Drawing, wanted: Sequence[Wanted], in_flight: int = 1
) -> Iterator[Float[Tensor, "B C h w"]]:
    """The latents of each pass, as they go to the decoder, with so many passes under way.

    `in_flight` changes no bit: see `system.flow.streaming`.
    """
    recipe, batches = subject.recipe, (_batch(subject, drawing, each) for each in wanted)
    stream = streamed(subject.model.flow, batches, drawing.sampler, in_flight=in_flight)
    for each, drawn in zip(wanted, stream, strict=True):
        tokens = drawn.tokens
        if drawing.sampler.denoise:
            tokens = _denoised(subject, drawing, tokens, each.label)
        yield to_latent(tokens, recipe.flow.patch, recipe.latent_size)


def _batch(subject: Subject, drawing: Drawing, wanted: Wanted) -> Batch:
    recipe, label = subject.recipe, wanted.label
    shape = (recipe.tokens, recipe.token_width)
    noise = streams.normal(drawing.seed, "sampling", wanted.index, shape=shape)
    return Batch(noise.to(subject.device), None if label is None else label.to(subject.device))


@torch.no_grad()
def _denoised(
    subject: Subject,
    drawing: Drawing,
    tokens: Float[Tensor, "B T D"],
    label: Int[Tensor, "B"] | None,
) -> Float[Tensor, "B T D"]:
    flow = subject.model.flow
    label = None if label is None else label.to(subject.device)
    condition = condition_of(flow, label, len(tokens))
    return denoise(
        tokens,
        lambda at: flow.log_prob(at, condition),
        spread=_noise_spread(subject.recipe.autoencoder),
        step=drawing.sampler.denoise,
    )


def _noise_spread(autoencoder: Convolutional | Pixels) -> float:
    if autoencoder.noise_spread is None:
        raise BadInput(
            f"denoise needs Gaussian noise of a known spread on the latents; "
            f"autoencoder.posterior.kind={autoencoder.posterior.kind} has none "
            "(a learned one has that of added_noise). Expected denoise=0"
        )
    return autoencoder.noise_spread


def grid(image: UInt8[Tensor, "N C H W"], columns: int) -> UInt8[Tensor, "C Y X"]:
    """Images side by side in rows of `columns`; small ones enlarged by whole pixels."""
    times = -(-GRID_SIDE // image.shape[-1])
    image = repeat(image, "n c h w -> n c (h y) (w x)", y=times, x=times)
    empty = -len(image) % columns
    image = functional.pad(image, (0, GRID_GAP, 0, GRID_GAP), value=GRID_GREY)
    image = functional.pad(image, (0, 0, 0, 0, 0, 0, 0, empty), value=GRID_GREY)
    return rearrange(image, "(r k) c h w -> c (r h) (k w)", k=columns)


def to_png(image: UInt8[Tensor, "C H W"]) -> bytes:
    """One image, grey or colour, as the content of a PNG file."""
    pixels = rearrange(image, "c h w -> h w c").numpy()
    content = io.BytesIO()
    Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels).save(content, "png")
    return content.getvalue()
