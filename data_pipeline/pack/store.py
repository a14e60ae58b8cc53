"""What is stored of an image: its own bytes, or a square cut from it and encoded anew."""

import io

import numpy as np
import simplejpeg
from jaxtyping import UInt8

from data_pipeline.images.crop import centre_crop
from data_pipeline.images.decode import decode
from data_pipeline.images.decode import encode_png
from data_pipeline.images.decode import to_pillow
from data_pipeline.pack.recipe import Square

_WEBP_EFFORT = (
    0  # of 6: a seventh smaller than PNG in a third of its time; 2 is a tenth smaller still,
)
# in five times this time


def to_stored_square(data: bytes, channels: int, store: Square) -> tuple[bytes, str | None]:
    """The encoded square, and why simplejpeg did not decode the image where that was tried.

    Raises BadSample where the image cannot be decoded.
    """
    decoded = decode(data, channels)
    square = centre_crop(decoded.image, store.size)
    return encode(square, store), decoded.fallback


def encode(image: UInt8[np.ndarray, "H W C"], store: Square) -> bytes:
    """The image in the format asked for; PNG and WebP keep every pixel."""
    match store.format:
        case "png":
            return encode_png(image)
        case "webp":
            target = io.BytesIO()
            to_pillow(image).save(target, format="WEBP", lossless=True, method=_WEBP_EFFORT)
            return target.getvalue()
        case "jpeg":
            colours = "GRAY" if image.shape[2] == 1 else "RGB"
            pixels = np.ascontiguousarray(image)
            return bytes(simplejpeg.encode_jpeg(pixels, store.quality, colours, "444", False))
