"""Real images as TARFlow's script reads them when it makes its reference of the training set.

The shorter side is scaled to the wanted size by Pillow's bilinear filter, and the centre cut out
(torchvision's Resize and CenterCrop); each image is mirrored with probability one half; its levels
are brought to [-1, 1] and back by truncation in float32, which lowers 63 of the 256 levels by one.
Numbers against any other reference are on another scale.

Source: ml-tarflow (Zhai et al. 2024, arXiv 2412.06329); torchvision's transforms.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Bool
from jaxtyping import Int
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from data_pipeline.decoding.image_reader import BadEntry
from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import decode
from data_pipeline.images.decode import from_pillow
from data_pipeline.images.decode import to_pillow
from data_pipeline.reading.shard_reader import ShardReader
from data_pipeline.shards.manifest import Manifest
from system.foundation.settings.data import Data


class TorchvisionReader:
    """The pixels of any samples, scaled and cut as torchvision does."""

    def __init__(self, manifest: Manifest, data: Data) -> None:
        self._manifest = manifest
        self._shape = (data.image_size, data.image_size, data.image_channels)
        self._shards = ShardReader(manifest, data)

    def read_many(
        self, samples: Int[np.ndarray, "B"]
    ) -> tuple[UInt8[np.ndarray, "B H W C"], dict[int, BadEntry]]:
        """The pixels of samples, unmirrored, and which rows are bad: their pixels mean nothing."""
        pixels, bad = np.zeros((len(samples), *self._shape), np.uint8), {}
        for row, encoded in enumerate(self._shards.read_many(samples)):
            sample = int(samples[row])
            try:
                if isinstance(encoded, BadSample):
                    raise encoded
                image = decode(encoded, self._shape[2]).image
                pixels[row] = scaled_and_cut(image, self._shape[0])
            except BadSample as problem:
                key, place = self._manifest.key(sample), self._manifest.place(sample)
                bad[row] = BadEntry(key, str(problem), place, sample)
        return pixels, bad


def scaled_and_cut(
    image: UInt8[np.ndarray, "h w C"], size: int
) -> UInt8[np.ndarray, "size size C"]:
    """The centre of the image once its shorter side is `size`; the longer one is rounded down."""
    height, width = image.shape[:2]
    if min(height, width) != size:
        longer = int(size * max(height, width) / min(height, width))
        height, width = (size, longer) if height <= width else (longer, size)
        scaled = to_pillow(image).resize((width, height), Image.Resampling.BILINEAR)
        image = from_pillow(scaled)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return image[top : top + size, left : left + size]


def as_loaded(
    image: UInt8[Tensor, "N C H W"], turned: Bool[np.ndarray, "N"]
) -> UInt8[Tensor, "N C H W"]:
    """Images mirrored where `turned`, on their way to [-1, 1] and back."""
    chosen = torch.from_numpy(turned)
    image[chosen] = image[chosen].flip(3)
    return lowered()[image.long()]


@cache
def lowered() -> UInt8[Tensor, "256"]:
    """Where each level ends on the way to [-1, 1] and back, in float32 and truncated."""
    level = torch.arange(256, dtype=torch.float32) / 255
    level = (level - 0.5) / 0.5
    return (0.5 * (level + 1) * 255).to(torch.uint8)
