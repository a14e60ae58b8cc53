import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from PIL import Image

from data_pipeline.images.crop import MAX_FITTED
from data_pipeline.images.crop import centre_crop
from data_pipeline.images.crop import mirrored
from data_pipeline.images.crop import to_square
from data_pipeline.images.crop import to_square_into
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


def reference_random_crop(image: Image.Image, size: int, draws: np.random.Generator) -> np.ndarray:
    """The random crop as its docstring tells it, by Pillow."""
    width, height = image.size
    for _ in range(10):
        area = width * height * draws.uniform(0.08, 1.0)
        aspect = math.exp(draws.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            top, left = draws.integers(0, height - h + 1), draws.integers(0, width - w + 1)
            break
    else:
        w, h = width, height
        if width / height < 3 / 4:
            h = round(width / (3 / 4))
        elif width / height > 4 / 3:
            w = round(height * (4 / 3))
        w, h = max(w, 1), max(h, 1)
        top, left = (height - h) // 2, (width - w) // 2
    part = image.crop((left, top, left + w, top + h))
    return np.array(part.resize((size, size), Image.BICUBIC))


noise = st.builds(
    lambda seed, height, width, channels: np.random.default_rng(seed).integers(
        0, 256, (height, width, channels), np.uint8
    ),
    st.integers(0, 2**32 - 1),
    st.integers(1, 80),
    st.integers(1, 80),
    st.sampled_from([1, 3]),
)


def picture(image: np.ndarray) -> Image.Image:
    """The same as a Pillow image."""
    return Image.fromarray(np.ascontiguousarray(image).squeeze(2) if image.shape[2] == 1 else image)


@settings(max_examples=200, deadline=None)
@given(image=noise, size=st.integers(1, 40), is_mirrored=st.booleans())
def test_adm_of_any_size_is_bit_identical(image, size, is_mirrored):
    expected = reference_crop(picture(image), size).reshape(size, size, -1)
    batch = np.zeros((3, size, size, image.shape[2]), np.uint8)
    to_square_into(batch[1], image, "adm", is_mirrored=is_mirrored)
    assert np.array_equal(batch[1], expected[:, ::-1] if is_mirrored else expected)
    assert not batch[[0, 2]].any()
    assert np.array_equal(to_square(image, "adm", size), expected)


@settings(max_examples=60, deadline=None)
@given(image=noise, size=st.integers(1, 40), is_mirrored=st.booleans())
def test_centre_is_the_lanczos_scaled_centred_square(image, size, is_mirrored):
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture(image).crop((left, top, left + side, top + side))
    expected = np.array(square.resize((size, size), Image.LANCZOS)).reshape(size, size, -1)
    target = np.empty_like(expected)
    to_square_into(target, image, "centre", is_mirrored=is_mirrored)
    assert np.array_equal(target, expected[:, ::-1] if is_mirrored else expected)
    assert np.array_equal(to_square(image, "centre", size), expected)


@settings(max_examples=150, deadline=None)
@given(image=noise, size=st.integers(1, 40), seed=st.integers(0, 1000), is_mirrored=st.booleans())
def test_random_crops_are_those_of_the_given_stream(image, size, seed, is_mirrored):
    expected = reference_random_crop(picture(image), size, np.random.default_rng(seed))
    expected = expected.reshape(size, size, -1)
    target = np.empty_like(expected)
    draws = np.random.default_rng(seed)
    to_square_into(target, image, "random_resized", draws, is_mirrored)
    assert np.array_equal(target, expected[:, ::-1] if is_mirrored else expected)
    again = to_square(image, "random_resized", size, np.random.default_rng(seed))
    assert np.array_equal(again, expected)


def test_random_crops_cover_eight_to_a_hundred_per_cent(photographs):
    # On a ramp the spread inside a crop tells how wide and how high the crop was.
    rows, columns = np.mgrid[0:240, 0:240].astype(np.uint8)
    ramp = np.stack([rows, columns, rows], axis=2)
    draws = np.random.default_rng(0)
    sides = []
    for _ in range(400):
        crop = to_square(ramp, "random_resized", 64, draws).astype(int)
        sides.append([np.ptp(crop[:, :, 0]) / 240, np.ptp(crop[:, :, 1]) / 240])
    area = np.prod(sides, axis=1)
    aspect = np.array(sides)[:, 1] / np.array(sides)[:, 0]
    assert 0.06 < area.min() < 0.12
    assert 0.9 < area.max() <= 1.0
    assert 0.70 < aspect.min() < 0.80
    assert 1.25 < aspect.max() < 1.43
    assert abs(np.log(aspect).mean()) < 0.03


def test_only_the_random_crop_draws(photographs):
    draws = np.random.default_rng(5)
    for crop in ("adm", "centre"):
        to_square(photographs[0], crop, 32, draws)
    assert draws.random() == np.random.default_rng(5).random()


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
    target = np.empty_like(square)
    to_square_into(target, square, "none", is_mirrored=True)
    assert np.array_equal(target, square[:, ::-1])


def test_an_image_that_is_all_length_is_bad():
    line = np.zeros((1, MAX_FITTED // 16, 1), np.uint8)
    with pytest.raises(BadSample, match="image is 1x65536, which scaled to 17x1114112 is longer"):
        to_square(line, "adm", 17)


def test_without_a_crop_another_size_is_bad(photographs):
    with pytest.raises(BadSample, match="427x640, expected 64x64"):
        to_square(photographs[0], "none", 64)


def test_mirror_draws_are_fair_and_belong_to_the_position():
    draws = mirrored(3, range(2000))
    assert 0.45 < draws.mean() < 0.55
    assert mirrored(3, [1999, 5]).tolist() == draws[[1999, 5]].tolist()
    assert mirrored(4, range(2000)).tolist() != draws.tolist()
