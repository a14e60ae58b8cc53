import json

import pytest
import timm
import torch

from system.alignment.vision_model import build
from system.alignment.vision_model import channels_of
from system.alignment.vision_model import per_channel
from system.alignment.weights import WeightsFile
from system.foundation.errors import BadInput
from tests.system.alignment.teachers import NAME
from tests.system.alignment.teachers import SHAPE


def stored(classes: int = 10, channels: int = 1) -> tuple[WeightsFile, torch.nn.Module]:
    arguments = SHAPE | {"in_chans": channels}
    model = timm.create_model(NAME, num_classes=classes, **arguments).eval()
    metadata = {"model": NAME, "model_args": json.dumps(arguments)}
    return WeightsFile("memory", model.state_dict(), metadata), model


def test_the_file_says_the_shape() -> None:
    file, model = stored()
    built, side = build(NAME, None, file)
    assert side == SHAPE["img_size"]
    assert channels_of(built) == 1
    image = torch.randn(2, 1, side, side)
    built.eval()
    assert torch.equal(built.forward_features(image), model.forward_features(image))


def test_a_classifier_is_kept_where_classes_are_asked_for() -> None:
    file, model = stored()
    built, side = build(NAME, None, file, classes=10)
    image = torch.randn(2, 1, side, side)
    assert torch.equal(built.eval()(image), model(image))


def test_another_size_has_another_grid() -> None:
    built, side = build(NAME, 16, stored()[0])
    assert side == 16
    assert built.pos_embed.shape[1] == 1 + 8 * 8


def test_errors_speak_of_the_key_that_was_given() -> None:
    with pytest.raises(BadInput, match=r"detector\.image_size 9 is not a multiple of 2"):
        build(NAME, 9, stored()[0], key="detector")


def test_building_draws_nothing_from_the_global_generator() -> None:
    file, _ = stored()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    build(NAME, None, file)
    assert torch.equal(torch.rand(1), expected)


def test_numbers_of_colours_for_a_grey_model() -> None:
    assert per_channel((0.25, 0.5, 0.75), 1).tolist() == [[[0.5]]]
    assert per_channel((0.25, 0.5, 0.75), 3).flatten().tolist() == [0.25, 0.5, 0.75]
