import io

import numpy as np
import pytest
from PIL import Image

from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import read_appearance
from data_pipeline.pack.look import format_of
from data_pipeline.pack.look import look_at


def encoded(picture, kind, **options):
    target = io.BytesIO()
    picture.save(target, format=kind, **options)
    return target.getvalue()


@pytest.fixture(scope="module")
def picture(photographs):
    return Image.fromarray(photographs[0][:30, :40])


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_it_sees_what_pillow_sees(picture):
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"):
        data = encoded(picture, kind)
        look, found = look_at(data, ""), read_appearance(data)
        assert (look.width, look.height) == (found.width, found.height) == (40, 30)
        assert look.extension == kind.lower() == format_of(data)


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}, {"comment": b"c" * 300}],
)
def test_plain_jpegs_have_nothing_to_tell(picture, options):
    for mode, channels in (("RGB", 3), ("L", 1)):
        look = look_at(encoded(picture.convert(mode), "JPEG", **options), "jpg", channels)
        assert (look.width, look.height, look.notes) == (40, 30, ())


def test_what_is_unusual_is_told(picture):
    deep = Image.fromarray(np.zeros((4, 4), np.uint16))
    cases = [
        (encoded(picture.convert("CMYK"), "JPEG"), "jpeg", ("mode CMYK",)),
        (encoded(picture.convert("L"), "JPEG"), "jpeg", ("mode L",)),
        (encoded(picture.convert("L"), "PNG"), "png", ("mode L",)),
        (encoded(picture.convert("P"), "PNG"), "png", ("mode P",)),
        (encoded(picture.convert("RGBA"), "PNG"), "png", ("mode RGBA",)),
        (encoded(deep, "PNG"), "png", ("mode I;16",)),
        (encoded(picture, "JPEG", exif=turned()), "jpg", ("rotated by EXIF, used as stored",)),
        (encoded(picture, "JPEG", exif=Image.Exif()), "jpg", ()),
        (encoded(picture, "PNG"), "jpeg", ("named jpeg, but its bytes are png",)),
        (encoded(picture, "TIFF"), "tif", ()),
    ]
    for data, extension, notes in cases:
        assert look_at(data, extension).notes == notes


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "zero bytes"), (b"<html>", "not an image"), (b"\xff\xd8\xff", "not an image")],
)
def test_what_is_no_image(data, reason):
    with pytest.raises(BadSample, match=reason):
        look_at(data, "jpg")


def test_a_header_cut_anywhere_is_an_image_or_a_bad_sample(picture):
    data = encoded(picture, "JPEG", exif=turned())
    for length in range(0, 700, 7):
        try:
            look = look_at(data[:length], "jpg")
        except BadSample:
            continue
        assert (look.width, look.height) == (40, 30)
