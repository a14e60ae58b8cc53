"""Image bytes to uint8 arrays: simplejpeg for JPEG, Pillow for everything it refuses.

The format is told from the bytes, never from a file's name: ImageNet has a PNG named JPEG.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

EXTENSIONS = ("bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp")  # of image files
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
_JPEG_START = b"\xff\xd8"
_EXIF_ORIENTATION = 0x0112
_REFUSALS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class BadSample(Exception):
    """One sample cannot be used. Its text is the reason, without names, so it can be counted."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One image, and why simplejpeg did not decode it where that was tried in vain."""

    image: UInt8[np.ndarray, "H W C"]
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class Appearance:
    """What an image's header says, without its pixels."""

    width: int
    height: int
    mode: str
    is_rotated: bool  # by EXIF; the pixels are used as stored, as in the published ImageNet figures


def decode(data: bytes, channels: int) -> Decoded:
    """The pixels in `channels` channels: 1 is grey, 3 is colour; alpha is dropped, EXIF ignored.

    In colour the pixels are those that Pillow gives; the grey of a colour JPEG is its luma channel.
    Raises BadSample where neither decoder gives a whole image.
    """
    if not data:
        raise BadSample("zero bytes")
    if not data.startswith(_JPEG_START):
        return Decoded(_decode_with_pillow(data, channels))
    try:
        colours = simplejpeg.decode_jpeg_header(data)[2]
        if colours in ("CMYK", "YCCK"):  # its conversion is off by one from the published pixels
            raise ValueError(f"{colours} is left to Pillow")
        image = simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB")
    except ValueError as refusal:
        return Decoded(_decode_with_pillow(data, channels), f"simplejpeg: {refusal}")
    return Decoded(image)


def read_appearance(data: bytes) -> Appearance:
    """Size, mode and rotation from the header alone. Raises BadSample for what is no image."""
    if not data:
        raise BadSample("zero bytes")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) != 1
            return Appearance(image.width, image.height, image.mode, turned)
    except _REFUSALS as problem:
        raise BadSample(_reason(problem)) from problem


def encode_png(image: UInt8[np.ndarray, "H W C"]) -> bytes:
    """The image as a lossless PNG, grey or colour."""
    target = io.BytesIO()
    to_pillow(image).save(target, format="PNG")
    return target.getvalue()


def to_pillow(image: UInt8[np.ndarray, "H W C"]) -> Image.Image:
    """The same pixels as a Pillow image of mode L or RGB."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def from_pillow(image: Image.Image) -> UInt8[np.ndarray, "H W C"]:
    """The pixels of a Pillow image of mode L or RGB."""
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _decode_with_pillow(data: bytes, channels: int) -> UInt8[np.ndarray, "H W C"]:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return from_pillow(_to_eight_bits(image).convert("L" if channels == 1 else "RGB"))
    except _REFUSALS as problem:
        raise BadSample(_reason(problem)) from problem


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise BadSample("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        return Image.fromarray(
            (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        )
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    return image


def _reason(problem: Exception) -> str:
    if isinstance(problem, Image.UnidentifiedImageError):
        return "not an image"  # Pillow's own text holds a memory address
    return f"{type(problem).__name__}: {problem}"
