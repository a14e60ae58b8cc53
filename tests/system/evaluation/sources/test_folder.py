import numpy as np
import pytest
import torch
from PIL import Image

from system.evaluation.sources.folder import folder_images
from system.evaluation.sources.folder import open_folder
from system.foundation.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), np.uint8)


def write(folder, pixels=PIXELS, suffix="png"):
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:03d}.{suffix}")
    return str(folder)


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[..., 0]], ids=["colour", "grey"])
def test_images_come_in_the_order_of_their_names(tmp_path, pixels):
    record = folder_images(write(tmp_path, pixels))
    (tmp_path / "labels.json").write_text("[]")  # what is no image is no matter
    assert (record.count, record.height, record.width) == (5, 6, 4)
    image = open_folder(record).images(range(1, 4))
    expected = torch.from_numpy(pixels.reshape(5, 6, 4, -1)[1:4]).permute(0, 3, 1, 2)
    assert torch.equal(image, expected)


def test_the_digest_is_of_the_images_in_their_order(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    first = folder_images(write(tmp_path / "a"))
    second = folder_images(write(tmp_path / "b"))
    third = folder_images(write(tmp_path / "c", PIXELS[::-1]))
    assert first.digest == second.digest != third.digest


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_are_refused(tmp_path, suffix):
    write(tmp_path)
    Image.fromarray(PIXELS[0]).save(tmp_path / f"more.{suffix}")
    with pytest.raises(DataError, match=f"1 images that are no PNG \\(more.{suffix}\\).*as PNG"):
        folder_images(str(tmp_path))


def test_a_jpeg_by_the_name_of_a_png_is_refused(tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png", format="jpeg")
    with pytest.raises(DataError, match=r"a\.png is no PNG file"):
        folder_images(str(tmp_path))


def test_images_of_several_sizes_or_kinds_are_refused(tmp_path):
    write(tmp_path)
    Image.fromarray(PIXELS[0, :5]).save(tmp_path / "z.png")
    with pytest.raises(DataError, match=r"is 5x4 of 3 channels, and 000\.png before it is 6x4"):
        folder_images(str(tmp_path))
    Image.fromarray(PIXELS[0, ..., 0]).save(tmp_path / "z.png")
    with pytest.raises(DataError, match=r"1 channels, and 000\.png before it is 6x4 of 3 channels"):
        folder_images(str(tmp_path))
    alpha = np.concatenate([PIXELS[0], PIXELS[0, ..., :1]], axis=2)
    Image.fromarray(alpha).save(tmp_path / "z.png")
    with pytest.raises(DataError, match="mode RGBA; expected RGB or L"):
        folder_images(str(tmp_path))
    Image.fromarray(PIXELS[0, ..., 0].astype(np.uint16) * 257).save(tmp_path / "z.png")
    with pytest.raises(DataError, match="mode I;16"):
        folder_images(str(tmp_path))


def test_levels_that_nobody_multiplied_are_refused(tmp_path):
    with pytest.raises(DataError, match="no pixel of the first 5 images is above 1"):
        folder_images(write(tmp_path, PIXELS // 255))


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="found no PNG file among 0 entries"):
        folder_images(str(tmp_path / "nowhere"))
    (tmp_path / "class").mkdir()
    with pytest.raises(DataError, match=r"among 1 entries \(class\).*not in folders below"):
        folder_images(str(tmp_path))


def test_damage_is_an_error_that_names_the_file(tmp_path):
    record = folder_images(write(tmp_path))
    content = (tmp_path / "003.png").read_bytes()
    (tmp_path / "003.png").write_bytes(content[:-30])
    source = open_folder(record)
    assert len(source.images(range(3))) == 3
    with pytest.raises(DataError, match=r"003\.png cannot be decoded"):
        source.images(range(5))
    Image.fromarray(PIXELS[0]).save(tmp_path / "more.png")
    with pytest.raises(DataError, match="found 6 PNG files, and there were 5"):
        open_folder(record)
