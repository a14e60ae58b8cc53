import io

import numpy as np
import pytest
from PIL import Image

from data_pipeline.images.crop import centre_crop
from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import decode
from data_pipeline.pack.recipe import Square
from data_pipeline.pack.store import encode
from data_pipeline.pack.store import to_stored_square


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_nothing_is_lost(photographs, jpeg, channels, kind):
    data = jpeg(photographs[0])
    stored, fallback = to_stored_square(data, channels, Square(size=64, format=kind))
    expected = centre_crop(decode(data, channels).image, 64)
    assert np.array_equal(decode(stored, channels).image, expected)
    assert fallback is None
    assert Image.open(io.BytesIO(stored)).format == kind.upper()


def test_transparent_black_is_kept_too():
    image = np.zeros((8, 8, 3), np.uint8)
    image[2:4] = (0, 255, 1)
    assert np.array_equal(decode(encode(image, Square(format="webp")), 3).image, image)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_of_the_quality_asked_for(photographs, channels):
    image = np.ascontiguousarray(photographs[0][:64, :64, :channels])
    sizes, errors = [], []
    for quality in (50, 95):
        data = encode(image, Square(format="jpeg", quality=quality))
        sizes.append(len(data))
        errors.append(np.abs(decode(data, channels).image.astype(int) - image).mean())
        assert Image.open(io.BytesIO(data)).format == "JPEG"
    assert sizes[0] < sizes[1]
    assert errors[1] < errors[0] < 10


def test_what_cannot_be_decoded():
    with pytest.raises(BadSample):
        to_stored_square(b"\xff\xd8\xff", 3, Square())
