import contextlib
import io

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from PIL import Image

from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import decode
from data_pipeline.images.decode import encode_png
from data_pipeline.images.decode import read_appearance


def encoded(image: Image.Image, format_name: str, **options) -> bytes:
    target = io.BytesIO()
    image.save(target, format=format_name, **options)
    return target.getvalue()


@pytest.mark.parametrize("which", [0, 1])
def test_jpeg_has_the_pixels_that_pillow_gives(photographs, jpeg, which):
    data = jpeg(photographs[which], quality=95)
    decoded = decode(data, 3)
    assert decoded.fallback is None
    assert np.array_equal(decoded.image, np.array(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip(photographs, channels):
    image = photographs[0][:20, :30, :channels]
    decoded = decode(encode_png(image), channels)
    assert decoded.image.dtype == np.uint8
    assert np.array_equal(decoded.image, image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_modes_are_converted(photographs, mode, channels):
    image = Image.fromarray(photographs[1][:40, :50]).convert(mode)
    expected = np.array(image.convert("L" if channels == 1 else "RGB"))
    assert np.array_equal(
        decode(encoded(image, "PNG"), channels).image.squeeze(), expected.squeeze()
    )


def test_palette_with_transparency(photographs):
    image = Image.fromarray(photographs[1][:40, :50]).convert("P")
    data = encoded(image, "PNG", transparency=bytes(range(256)))
    assert np.array_equal(decode(data, 3).image, np.array(image.convert("RGB")))


def test_sixteen_bits_are_scaled(photographs):
    values = photographs[0][:30, :40, 0].astype(np.uint16) * 257
    assert np.array_equal(
        decode(encoded(Image.fromarray(values), "PNG"), 1).image[:, :, 0], values >> 8
    )


def test_sixteen_bits_of_grey_in_colour(photographs):
    values = photographs[0][:30, :40, 0].astype(np.uint16) * 257
    data = encoded(Image.fromarray(values), "PNG")
    assert np.array_equal(decode(data, 3).image, np.repeat((values >> 8)[:, :, None], 3, axis=2))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_cmyk_falls_back_to_pillow_and_says_so(photographs, channels, mode):
    image = Image.fromarray(photographs[0][:64, :64]).convert("CMYK")
    data = encoded(image, "JPEG", quality=95)
    decoded = decode(data, channels)
    assert decoded.fallback == "simplejpeg: CMYK is left to Pillow"
    expected = np.array(Image.open(io.BytesIO(data)).convert(mode))
    assert np.array_equal(decoded.image.squeeze(), expected)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_grey_jpeg_has_the_pixels_that_pillow_gives(photographs, channels, mode):
    data = encoded(Image.fromarray(photographs[0][:65, :63]).convert("L"), "JPEG")
    decoded = decode(data, channels)
    assert decoded.fallback is None
    expected = np.array(Image.open(io.BytesIO(data)).convert(mode))
    assert np.array_equal(decoded.image.squeeze(), expected)


def test_the_grey_of_a_colour_jpeg_is_its_luma(photographs, jpeg):
    data = jpeg(photographs[0][:65, :63])
    luma = Image.open(io.BytesIO(data))
    luma.draft("L", None)
    assert np.array_equal(decode(data, 1).image.squeeze(), np.array(luma))


def test_a_picture_that_exif_turns_keeps_its_pixels_as_stored(photographs, jpeg):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = photographs[0][:30, :50]
    assert np.array_equal(decode(jpeg(image, exif=exif), 3).image, decode(jpeg(image), 3).image)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(photographs, jpeg):
    data = jpeg(photographs[0][:30, :50])
    decoded = decode(data + bytes(7), 3)
    assert decoded.fallback is None
    assert np.array_equal(decoded.image, decode(data, 3).image)


def test_float_pixels_are_refused():
    data = encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")
    with pytest.raises(BadSample, match="floating-point"):
        decode(data, 1)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "zero bytes"), (b"<html>not found</html>", "not an image")]
)
def test_what_is_no_image_is_bad(data, reason):
    for read in (read_appearance, lambda bytes_: decode(bytes_, 3)):
        with pytest.raises(BadSample, match=reason):
            read(data)


def test_truncated_images_are_bad(photographs, jpeg):
    for data in (jpeg(photographs[0]), encode_png(photographs[0])):
        with pytest.raises(BadSample):
            decode(data[: len(data) // 2], 3)


def test_appearance(photographs):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(photographs[0][:30, :50])
    look = read_appearance(encoded(image, "JPEG", exif=exif))
    assert (look.width, look.height, look.mode, look.is_rotated) == (50, 30, "RGB", True)
    assert not read_appearance(encoded(image.convert("L"), "PNG")).is_rotated


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_gives_an_image_or_a_bad_sample(photographs, jpeg, data):
    whole = bytearray(
        data.draw(
            st.sampled_from([jpeg(photographs[0][:48, :48]), encode_png(photographs[1][:32, :32])])
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadSample):
        image = decode(bytes(whole[: data.draw(st.integers(1, len(whole)))]), 3).image
        assert image.ndim == 3
        assert image.shape[2] == 3
