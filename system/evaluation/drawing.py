"""Pictures out of a flow: image i is a function of the weights, the label and (seed, i) alone."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from einops import repeat
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from system.evaluation.protocol import Drawing
from system.evaluation.subject import Subject
from system.flow.flow import to_latent
from system.flow.sampler import sample
from system.foundation import streams
from system.foundation.errors import NumericsError

GRID_SIDE = 48  # pixels that a picture has at least in a grid, so that a person can see it
GRID_GAP = 2
GRID_GREY = 128


def draw(
    subject: Subject,
    drawing: Drawing,
    index: Sequence[int],
    label: Int[Tensor, "N"],
    batch: int = 256,
) -> UInt8[Tensor, "N C H W"]:
    """The images of these indices and labels, in 8 bits.

    The batch changes them by rounding alone. Raises NumericsError for images that are not finite:
    they are never drawn again silently.
    """
    assert len(index) == len(label), f"{len(index)} indices for {len(label)} labels"
    cuts = [slice(start, start + batch) for start in range(0, len(index), batch)]
    return torch.cat([_draw_batch(subject, drawing, index[cut], label[cut]) for cut in cuts])


@torch.no_grad()
def _draw_batch(
    subject: Subject, drawing: Drawing, index: Sequence[int], label: Int[Tensor, "B"]
) -> UInt8[Tensor, "B C H W"]:
    recipe, model = subject.recipe, subject.model
    shape = (recipe.tokens, recipe.token_width)
    noise = drawing.temperature * streams.normal(drawing.seed, "sampling", index, shape)
    label = label.to(subject.device)
    tokens = sample(model.flow, noise.to(subject.device), label, drawing.guidance)
    latent = to_latent(tokens, recipe.flow.patch, recipe.latent_size)
    return to_uint8(model.autoencoder.decode(latent))


def to_uint8(image: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B C H W"]:
    """Images in [-1, 1] as 8 bits on the CPU: clamped, then rounded half to even.

    Raises NumericsError where a pixel is not finite.
    """
    broken = int((~torch.isfinite(image)).flatten(1).any(dim=1).sum())
    if broken:
        raise NumericsError(
            f"found {broken} of {len(image)} images with pixels that are not finite; "
            "expected none. The weights have diverged: see the run's losses and skipped updates"
        )
    return ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def balanced_labels(count: int, classes: int) -> Int[Tensor, "N"]:
    """Every class as often as every other: 0, 1, ..., classes - 1, 0, 1, ..."""
    return torch.arange(count) % classes


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


def to_adm_npz(image: UInt8[Tensor, "N C H W"], label: Int[Tensor, "N"]) -> bytes:
    """Images and labels in the layout that ADM's evaluator reads, as the content of an npz file.

    `arr_0` is uint8 N H W 3, `arr_1` int64 N. Grey images are given three equal channels: that is
    what readers of this layout expect.
    """
    colour = image.expand(-1, 3, -1, -1)
    content = io.BytesIO()
    np.savez(content, arr_0=rearrange(colour, "n c h w -> n h w c").numpy(), arr_1=label.numpy())
    return content.getvalue()
