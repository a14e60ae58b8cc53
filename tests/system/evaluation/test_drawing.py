import io

import numpy as np
import pytest
import torch
from PIL import Image

from system.evaluation.drawing import balanced_labels
from system.evaluation.drawing import draw
from system.evaluation.drawing import grid
from system.evaluation.drawing import to_adm_npz
from system.evaluation.drawing import to_png
from system.evaluation.drawing import to_uint8
from system.evaluation.protocol import Drawing
from system.foundation.errors import NumericsError


def drawing(**changes) -> Drawing:
    whole = Drawing(
        labels="balanced", guidance_form="starflow", guidance=1.0, temperature=1.0, seed=0
    )
    return whole.model_copy(update=changes)


def levels_apart(first: torch.Tensor, second: torch.Tensor) -> int:
    return int((first.int() - second.int()).abs().max())


def test_an_image_depends_on_its_index_alone(subject):
    label = balanced_labels(12, 10)
    whole = draw(subject, drawing(), range(12), label, batch=12)
    assert whole.shape == (12, 1, 8, 8)
    assert whole.dtype == torch.uint8
    for batch in (1, 5):  # a pixel on the edge of two levels may round to the other one
        assert levels_apart(draw(subject, drawing(), range(12), label, batch), whole) <= 1
    alone = draw(subject, drawing(), [7], label[7:8])
    assert levels_apart(alone, whole[7:8]) <= 1


def test_seed_label_guidance_and_temperature_matter(subject):
    label = balanced_labels(8, 10)
    reference = draw(subject, drawing(), range(8), label)
    for change in ({"seed": 1}, {"guidance": 0.0}, {"temperature": 0.5}):
        assert not torch.equal(draw(subject, drawing(**change), range(8), label), reference)
    assert not torch.equal(draw(subject, drawing(), range(8), label.flip(0)), reference)


def test_all_256_levels_survive_the_round_trip():
    level = torch.arange(256).to(torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_uint8(level.float() / 127.5 - 1), level)
    assert to_uint8(torch.tensor([[[[-3.0, 3.0]]]])).flatten().tolist() == [0, 255]


def test_images_that_are_not_finite_are_counted_and_refused():
    image = torch.zeros(3, 1, 2, 2)
    image[1, 0, 0, 0] = torch.nan
    with pytest.raises(NumericsError, match="1 of 3"):
        to_uint8(image)


def test_grid_enlarges_small_images_and_fills_the_last_row():
    image = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    image[1] = 200
    picture = grid(image, columns=3)
    assert picture.shape == (1, 2 * 50, 3 * 50)
    assert (picture[0, :48, 50:98] == 200).all()
    assert (picture[0, 50:98, 100:148] == 128).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(channels):
    image = torch.arange(channels * 6, dtype=torch.uint8).reshape(channels, 2, 3)
    decoded = np.asarray(Image.open(io.BytesIO(to_png(image))))
    expected = image[0] if channels == 1 else image.permute(1, 2, 0)
    assert (decoded == expected.numpy()).all()


def test_npz_has_the_adm_layout():
    image = torch.arange(2 * 4, dtype=torch.uint8).reshape(2, 1, 2, 2)
    content = to_adm_npz(image, torch.tensor([3, 9]))
    assert content == to_adm_npz(image, torch.tensor([3, 9]))  # the same bytes
    arrays = np.load(io.BytesIO(content))
    assert arrays["arr_0"].shape == (2, 2, 2, 3)
    assert arrays["arr_0"].dtype == np.uint8
    assert (arrays["arr_0"] == image.permute(0, 2, 3, 1).numpy()).all()
    assert arrays["arr_1"].tolist() == [3, 9]
    assert arrays["arr_1"].dtype == np.int64
