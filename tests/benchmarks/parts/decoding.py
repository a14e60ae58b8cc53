"""Milliseconds for one image of 375x500 pixels: decoded and cropped, by us and by Pillow."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from data_pipeline.images.crop import to_square_into
from data_pipeline.images.decode import decode
from tests.benchmarks.photographs import jpeg
from tests.benchmarks.photographs import usual_photograph
from tests.benchmarks.rows import median_of_each
from tests.benchmarks.rows import seconds

SIZE = 256
TIMES = 20


@dataclass(frozen=True, slots=True)
class Decoding:
    """Seconds for one image."""

    decode: float
    pillow_decode: float
    crop: float
    pillow_crop: float
    random_crop: float


def time_decoding(rounds: int) -> Decoding:
    """Measure each in turn."""
    image = usual_photograph()
    data = jpeg(image)
    picture = Image.fromarray(image)
    target = np.empty((SIZE, SIZE, 3), np.uint8)
    fitted = (round(image.shape[1] * SIZE / image.shape[0]), SIZE)
    draws = np.random.default_rng(0)
    works = {
        "decode": lambda: decode(data, 3),
        "pillow_decode": lambda: Image.open(io.BytesIO(data)).convert("RGB"),
        "crop": lambda: to_square_into(target, image, "adm"),
        "pillow_crop": lambda: picture.resize(fitted, Image.Resampling.BICUBIC),
        "random_crop": lambda: to_square_into(target, image, "random_resized", draws),
    }
    sides = {name: lambda work=work: seconds(work, TIMES) for name, work in works.items()}
    return Decoding(**median_of_each(sides, rounds))
