"""From a decoded image to the square that the model sees, and the mirror draw.

adm             halved by box averages while twice too large, then bicubic, then the centre cut out
centre          the largest centred square, scaled by Lanczos
random_resized  a random area and aspect at a random place, scaled by bicubic

Source: guided-diffusion (Dhariwal & Nichol 2021, arXiv 2105.05233), the evaluation crop; EDM
(Karras et al. 2022, arXiv 2206.00364), `center-crop` of its dataset tool; Szegedy et al. 2014,
arXiv 1409.4842, section 6, for the random crop, with the fallback that torchvision gave it.
"""

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
from jaxtyping import Bool
from jaxtyping import UInt8
from PIL import Image

from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import from_pillow
from data_pipeline.images.decode import to_pillow
from data_pipeline.images.resample import Fit
from data_pipeline.images.resample import resampler
from system.foundation.philox import generator

Crop = Literal["none", "adm", "centre", "random_resized"]

AREAS = (0.08, 1.0)  # of a random crop, as a share of the image's
ASPECTS = (3 / 4, 4 / 3)  # its width over its height
TRIES = 10
MAX_FITTED = 2**20  # longest side that an image is scaled to before it is cut


def to_square(
    image: UInt8[np.ndarray, "h w C"],
    crop: Crop,
    size: int,
    draws: np.random.Generator | None = None,
) -> UInt8[np.ndarray, "size size C"]:
    """The image cropped as asked; itself where there is nothing to do. See `to_square_into`."""
    if crop != "random_resized" and image.shape[:2] == (size, size):
        return image
    square = np.empty((size, size, image.shape[2]), np.uint8)
    to_square_into(square, image, crop, draws)
    return square


def to_square_into(
    target: UInt8[np.ndarray, "size size C"],
    image: UInt8[np.ndarray, "h w C"],
    crop: Crop,
    draws: np.random.Generator | None = None,
    is_mirrored: bool = False,
) -> None:
    """Write the image cropped as asked into `target`, a row of a batch: pixels contiguous.

    `draws` is the sample's own stream; only `random_resized` draws from it, and needs it. Raises
    BadSample where `none` meets another size, and where an image is too elongated to be scaled.
    """
    size = target.shape[0]
    if crop == "random_resized":
        assert draws is not None
        fit_square(target, _random_part(image, draws), is_mirrored)
    elif image.shape[:2] == (size, size):
        target[...] = image[:, ::-1] if is_mirrored else image
    elif crop == "adm":
        _crop_like_adm(target, image, is_mirrored)
    elif crop == "centre":
        square = _centre_square(image, size)
        target[...] = square[:, ::-1] if is_mirrored else square
    else:
        height, width = image.shape[:2]
        raise BadSample(f"image is {height}x{width}, expected {size}x{size} (data.crop is none)")


def centre_crop(image: UInt8[np.ndarray, "h w C"], size: int) -> UInt8[np.ndarray, "size size C"]:
    """ADM's centre crop. Raises BadSample for an image that is too elongated."""
    return to_square(image, "adm", size)


def fit_square(
    target: UInt8[np.ndarray, "size size C"], image: UInt8[np.ndarray, "h w C"], is_mirrored: bool
) -> None:
    """Write the whole image scaled to `target` by bicubic, whatever its aspect."""
    resampler().resample(image, Fit("bicubic", *target.shape[:2]), target, is_mirrored)


def mirrored(seed: int, positions: Iterable[int]) -> Bool[np.ndarray, "B"]:
    """Whether the sample at each position is mirrored: a fair coin of the position's own stream."""
    return np.array([generator(seed, "augment", p).random() < 0.5 for p in positions], bool)


def _crop_like_adm(
    target: UInt8[np.ndarray, "size size C"], image: UInt8[np.ndarray, "h w C"], is_mirrored: bool
) -> None:
    size = target.shape[0]
    while min(image.shape[:2]) >= 2 * size:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        halved = np.empty((height, width, image.shape[2]), np.uint8)
        resampler().resample(image, Fit("box", height, width), halved, is_mirrored=False)
        image = halved
    scale = size / min(image.shape[:2])
    height, width = round(image.shape[0] * scale), round(image.shape[1] * scale)
    if max(height, width) > MAX_FITTED:
        raise BadSample(
            f"image is {image.shape[0]}x{image.shape[1]}, which scaled to {height}x{width} is "
            f"longer than {MAX_FITTED}"
        )
    fit = Fit("bicubic", height, width, (height - size) // 2, (width - size) // 2)
    resampler().resample(image, fit, target, is_mirrored)


def _centre_square(
    image: UInt8[np.ndarray, "h w C"], size: int
) -> UInt8[np.ndarray, "size size C"]:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = to_pillow(image[top : top + side, left : left + side])
    return from_pillow(square.resize((size, size), Image.Resampling.LANCZOS))


def _random_part(
    image: UInt8[np.ndarray, "h w C"], draws: np.random.Generator
) -> UInt8[np.ndarray, "_ _ C"]:
    """A view of the image: of up to ten draws of area and aspect the first that fits inside.

    Each try draws its area, then the logarithm of its aspect, both uniform; the one that fits draws
    its top row, then its left column. Where none fits: the largest centred part whose aspect is
    allowed.
    """
    height, width = image.shape[:2]
    for _ in range(TRIES):
        area = height * width * draws.uniform(*AREAS)
        aspect = math.exp(draws.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1])))
        rows, columns = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < rows <= height and 0 < columns <= width:
            top = int(draws.integers(0, height - rows + 1))
            left = int(draws.integers(0, width - columns + 1))
            return image[top : top + rows, left : left + columns]
    aspect = min(max(width / height, ASPECTS[0]), ASPECTS[1])
    rows = max(1, min(height, round(width / aspect)))
    columns = max(1, min(width, round(height * aspect)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns]
