"""How 8-bit images are brought to a detector's size: the rules that published numbers used.

    tf1_bilinear        TensorFlow 1's: no half-pixel centres; ADM's evaluator, torch-fidelity
    bilinear            half-pixel centres; pytorch-fid
    bilinear_antialias  the same, and a wider filter where it shrinks; TorchMetrics from 1.8 on
    pil_bicubic         Pillow's, each channel in float32, not rounded; clean-fid
    bicubic_antialias   torch's, not clamped; EDM2's FD-DINOv2
    none                images have the right size, or the detector takes any

From 256 to 299 pixels these differ by a grey level on average and by tens at edges, which moves a
Frechet distance by more than many a claimed improvement: the rule is part of every protocol. All
answer in grey levels, 0 to 255, unrounded.

Source: Parmar et al. 2022, arXiv 2104.11222, for why it matters; section 1.1 of its evaluators.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

Rule = Literal[
    "none",
    "tf1_bilinear",
    "bilinear",
    "bilinear_antialias",
    "pil_bicubic",
    "bicubic_antialias",
]


def resized(
    image: UInt8[Tensor, "N C H W"], side: int, rule: Rule, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "N C h w"]:
    """Images of `side` by `side` pixels by a rule, in grey levels, on the device they came on.

    `none` leaves their size alone.
    """
    return RULES[rule](image, side, dtype)


def _none(image: Tensor, side: int, dtype: torch.dtype) -> Tensor:
    return image.to(dtype)


def _tf1_bilinear(image: Tensor, side: int, dtype: torch.dtype) -> Tensor:
    """Output pixel x looks at x * scale, with the scale in float32 as TensorFlow has it."""
    left, right, across = _neighbours(image.shape[3], side, image.device, dtype)
    upper, lower, down = _neighbours(image.shape[2], side, image.device, dtype)
    level = image.to(dtype)
    # Columns before rows, as TensorFlow does: the other order rounds otherwise.
    level = _between(level[..., left], level[..., right], across)
    return _between(level[..., upper, :], level[..., lower, :], down[:, None])


def _neighbours(
    size: int, side: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """For each output pixel the two input pixels around its position, and the way between them."""
    scale = torch.tensor(size / side, dtype=torch.float32, device=device)
    position = torch.arange(side, dtype=dtype, device=device) * scale.to(dtype)
    before = position.long()
    after = (before + 1).clamp_max(size - 1)
    return before, after, position - before.to(dtype)


def _between(before: Tensor, after: Tensor, way: Tensor) -> Tensor:
    return before + (after - before) * way


def _pil_bicubic(image: Tensor, side: int, dtype: torch.dtype) -> Tensor:
    """Pillow's mode F keeps float32 all the way; what overshoots is clipped, as clean-fid does."""
    channels = image.flatten(0, 1).cpu().numpy().astype(np.float32)
    shape = (side, side)
    found = [Image.fromarray(each).resize(shape, Image.Resampling.BICUBIC) for each in channels]
    stacked = np.stack([np.asarray(each).clip(0, 255) for each in found])
    level = torch.from_numpy(stacked).unflatten(0, image.shape[:2])
    return level.to(device=image.device, dtype=dtype)


def _interpolated(mode: str, *, antialias: bool) -> Callable[[Tensor, int, torch.dtype], Tensor]:
    def resize(image: Tensor, side: int, dtype: torch.dtype) -> Tensor:
        return functional.interpolate(
            image.to(dtype), size=(side, side), mode=mode, antialias=antialias, align_corners=False
        )

    return resize


RULES = MappingProxyType(
    {
        "none": _none,
        "tf1_bilinear": _tf1_bilinear,
        "bilinear": _interpolated("bilinear", antialias=False),
        "bilinear_antialias": _interpolated("bilinear", antialias=True),
        "pil_bicubic": _pil_bicubic,
        "bicubic_antialias": _interpolated("bicubic", antialias=True),
    }
)
