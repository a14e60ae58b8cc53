"""From a decoded image to the square that the model sees, and the mirror draw.

Source: guided-diffusion (Dhariwal & Nichol 2021, arXiv 2105.05233), the evaluation crop.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from jaxtyping import Bool
from jaxtyping import UInt8
from PIL import Image

from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import from_pillow
from data_pipeline.images.decode import to_pillow
from system.foundation.philox import generator


def to_square(
    image: UInt8[np.ndarray, "h w C"], crop: Literal["none", "adm"], size: int
) -> UInt8[np.ndarray, "size size C"]:
    """The image cropped as asked. Raises BadSample where `none` meets another size."""
    if image.shape[:2] == (size, size):
        return image
    if crop == "none":
        height, width = image.shape[:2]
        raise BadSample(f"image is {height}x{width}, expected {size}x{size} (data.crop is none)")
    return centre_crop(image, size)


def centre_crop(image: UInt8[np.ndarray, "h w C"], size: int) -> UInt8[np.ndarray, "size size C"]:
    """ADM's centre crop: halve by box averages while twice too large, then bicubic, then cut."""
    picture = to_pillow(image)
    while min(picture.size) >= 2 * size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = size / min(picture.size)
    fitted = (round(picture.width * scale), round(picture.height * scale))
    picture = picture.resize(fitted, Image.Resampling.BICUBIC)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return from_pillow(picture.crop((left, top, left + size, top + size)))


def mirrored(seed: int, positions: Iterable[int]) -> Bool[np.ndarray, "B"]:
    """Whether the sample at each position is mirrored: a fair coin of the position's own stream."""
    return np.array([generator(seed, "augment", p).random() < 0.5 for p in positions], bool)
