import numpy as np
import pytest
from PIL import Image

from data_pipeline.images.crop import centre_crop
from data_pipeline.images.crop import mirrored
from data_pipeline.images.crop import to_square
from data_pipeline.images.decode import BadSample


def reference_crop(image: Image.Image, size: int) -> np.ndarray:
    """The crop of ADM's evaluation, step by step on a whole Pillow image."""
    while min(*image.size) >= 2 * size:
        image = image.resize(tuple(side // 2 for side in image.size), resample=Image.BOX)
    scale = size / min(*image.size)
    image = image.resize(tuple(round(side * scale) for side in image.size), resample=Image.BICUBIC)
    array = np.array(image)
    top, left = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
    return array[top : top + size, left : left + size]


@pytest.mark.parametrize("size", [16, 33, 64, 127, 256, 300, 427, 600])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("turned", [False, True])
def test_centre_crop_is_bit_identical_to_adm(photographs, size, which, turned):
    image = photographs[which].transpose(1, 0, 2) if turned else photographs[which]
    expected = reference_crop(Image.fromarray(np.ascontiguousarray(image)), size)
    assert np.array_equal(centre_crop(image, size), expected)


def test_centre_crop_of_grey(photographs):
    grey = np.array(Image.fromarray(photographs[0]).convert("L"))
    expected = reference_crop(Image.fromarray(grey), 50)
    assert np.array_equal(centre_crop(grey[:, :, None], 50), expected[:, :, None])


def test_an_image_of_the_right_size_is_left_alone(photographs):
    square = photographs[0][:64, :64]
    assert to_square(square, "adm", 64) is square
    assert to_square(square, "none", 64) is square
    assert np.array_equal(centre_crop(square, 64), square)


def test_without_a_crop_another_size_is_bad(photographs):
    with pytest.raises(BadSample, match="427x640, expected 64x64"):
        to_square(photographs[0], "none", 64)


def test_mirror_draws_are_fair_and_belong_to_the_position():
    draws = mirrored(3, range(2000))
    assert 0.45 < draws.mean() < 0.55
    assert mirrored(3, [1999, 5]).tolist() == draws[[1999, 5]].tolist()
    assert mirrored(4, range(2000)).tolist() != draws.tolist()
