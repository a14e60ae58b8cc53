"""Small timm models of random weights; DINOv2's architecture in miniature."""

import json
import math
import socket

import pytest
import timm
import torch
from torch.nn import functional

from system.alignment.weights import write_weights
from system.evaluation.detectors.choice import VisionChoice
from system.evaluation.detectors.choice import open_detector
from system.evaluation.detectors.detector import PASSES
from system.evaluation.detectors.vision import DINOV2
from system.evaluation.detectors.vision import dinov2_choice
from system.evaluation.detectors.vision import vision_choice
from system.foundation.errors import BadInput
from system.foundation.errors import DataError

SMALL = "vit_small_patch14_dinov2"
SHAPE = {"img_size": 70, "embed_dim": 16, "depth": 2, "num_heads": 2}  # a grid of 5 by 5
MEAN, SPREAD = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]


def written(url, name, classes=0, **arguments):
    """A random model, written where `url` says."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=classes, **arguments).eval()
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    metadata = {"model": name, "model_args": json.dumps(arguments)}
    write_weights(url, model.state_dict(), metadata)
    return model


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("weights") / "dinov2.safetensors")
    return written(url, SMALL, **SHAPE), url


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("weights") / "resnet.safetensors")
    return written(url, "test_resnet", classes=7), url


@pytest.fixture(scope="module")
def image():
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (PASSES["cpu"] + 1, 3, 48, 40), generator=generator).byte()


def prepared(image, side):
    level = functional.interpolate(image.float(), size=(side, side), mode="bicubic", antialias=True)
    return (level / 255 - MEAN) / SPREAD


def test_features_are_the_class_token_of_images_made_ready_as_edm2_does(dinov2, image):
    model, url = dinov2
    choice = vision_choice(SMALL, url)
    assert (choice.size, choice.classes) == (70, 0)
    seen = open_detector(choice).look(image)
    with torch.no_grad():
        wanted = model.forward_features(prepared(image, 70))[:, 0]
    torch.testing.assert_close(seen.features, wanted, rtol=0, atol=1e-5)
    assert seen.spatial.shape == seen.logits.shape == (len(image), 0)


def test_a_classifier_gives_its_logits_and_what_it_sees(classifier, image):
    model, url = classifier
    choice = vision_choice("test_resnet", url, size=96)
    assert choice.classes == 7
    seen = open_detector(choice).look(image)
    with torch.no_grad():
        level = functional.interpolate(image.float(), size=(96, 96), mode="bicubic", antialias=True)
        mean, std = (torch.tensor(each)[:, None, None] for each in (choice.mean, choice.std))
        wanted = model((level / 255 - mean) / std)
    torch.testing.assert_close(seen.logits, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.get_classifier()(seen.features), seen.logits)


def test_bits_do_not_depend_on_the_batch(dinov2, image):
    detector = open_detector(vision_choice(SMALL, dinov2[1]))
    whole = detector.look(image).features
    assert torch.equal(detector.look(image[-1:]).features, whole[-1:])


def bicubic(grid, place):
    """Keys' kernel with a = -0.75 at a place of a square grid, borders repeated: a slow oracle."""

    def weight(distance):
        if distance <= 1:
            return (1.25 * distance - 2.25) * distance**2 + 1
        return -0.75 * (((distance - 5) * distance + 8) * distance - 4)

    total, last = torch.zeros(grid.shape[-1]), len(grid) - 1
    for row in range(math.floor(place[0]) - 1, math.floor(place[0]) + 3):
        for column in range(math.floor(place[1]) - 1, math.floor(place[1]) + 3):
            found = grid[min(max(row, 0), last), min(max(column, 0), last)]
            total += weight(abs(place[0] - row)) * weight(abs(place[1] - column)) * found
    return total


def test_positions_are_interpolated_as_dinov2_does(dinov2):
    """By (3 + 0.1) / 5, without antialiasing; checked once against Meta's code: bit by bit."""
    stored = dinov2[0].pos_embed.detach()
    choice = vision_choice(SMALL, dinov2[1], size=42, positions="dinov2")
    found = open_detector(choice).model.pos_embed
    grid = stored[0, 1:].reshape(5, 5, -1)
    places = [(step + 0.5) * 5 / 3.1 - 0.5 for step in range(3)]
    wanted = torch.stack([bicubic(grid, (row, column)) for row in places for column in places])
    assert torch.equal(found[0, 0], stored[0, 0])
    torch.testing.assert_close(found[0, 1:], wanted, rtol=0, atol=1e-5)
    timms = open_detector(vision_choice(SMALL, dinov2[1], size=42))
    assert (timms.model.pos_embed - found).abs().max() > 1e-2
    assert timms.name != choice.name


def test_positions_of_its_own_size_stay(dinov2):
    found = open_detector(vision_choice(SMALL, dinov2[1], positions="dinov2"))
    assert torch.equal(found.model.pos_embed, dinov2[0].pos_embed)


def test_positions_as_dinov2s_are_for_such_models_only(classifier):
    with pytest.raises(BadInput, match="take positions=timm"):
        vision_choice("test_resnet", classifier[1], positions="dinov2")


def test_fd_dinov2_takes_the_large_model_at_224(tmp_path):
    url = str(tmp_path / "large.safetensors")
    written(url, DINOV2, **SHAPE)
    choice = dinov2_choice(url)
    assert (choice.size, choice.resize, choice.positions) == (224, "bicubic_antialias", "dinov2")
    assert choice.mean == (0.485, 0.456, 0.406)
    assert choice.std == (0.229, 0.224, 0.225)
    assert open_detector(choice).model.pos_embed.shape == (1, 1 + 16 * 16, 16)
    assert VisionChoice.model_validate_json(choice.model_dump_json()) == choice


def test_no_file_is_said_with_what_timm_knows_of_it_and_no_network_is_asked(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(BadInput, match=r"no file.*dinov2_vitl14_pretrain\.pth.*Put it there"):
        dinov2_choice(str(tmp_path / "absent.pth"))


def test_an_unknown_model_is_named(tmp_path):
    with pytest.raises(BadInput, match="does not know; the nearest is vit_small_patch14_dinov2"):
        vision_choice("vit_small_patch14_dinov", str(tmp_path / "absent.pth"))


def test_a_size_that_patches_do_not_fill_is_refused(dinov2):
    with pytest.raises(BadInput, match="not a multiple of 14"):
        vision_choice(SMALL, dinov2[1], size=64)


def test_other_weights_are_refused(dinov2, classifier):
    with pytest.raises(BadInput, match=f"expected {'0' * 64}"):
        vision_choice(SMALL, dinov2[1], expected="0" * 64)
    with pytest.raises(BadInput, match="holds a test_resnet"):
        vision_choice(SMALL, classifier[1])


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "cut.pth"
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(BadInput, match=r"cut\.pth is no file of weights"):
        vision_choice(SMALL, str(file))


def test_images_it_cannot_look_at_are_refused(dinov2, image):
    detector = open_detector(vision_choice(SMALL, dinov2[1], resize="none"))
    with pytest.raises(DataError, match="70x70"):
        detector.look(image)
    with pytest.raises(DataError, match="2 channels"):
        detector.look(torch.zeros(1, 2, 70, 70, dtype=torch.uint8))
    grey = torch.full((1, 1, 70, 70), 99, dtype=torch.uint8)
    colour = grey.expand(-1, 3, -1, -1)
    assert torch.equal(detector.look(grey).features, detector.look(colour).features)
