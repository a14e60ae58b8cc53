"""LPIPS against the library's own, on a trunk of seeded random weights."""

import hashlib

import lpips
import pytest
import torch
import torchvision
from torchmetrics.functional.image.lpips import _LPIPS

from system.evaluation.scores.perceptual import PASS
from system.evaluation.scores.perceptual import PerceptualDistance
from system.foundation.errors import BadInput


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A VGG-16 in torchvision's format."""
    torch.manual_seed(0)
    features = torchvision.models.vgg16(weights=None).features
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save({f"features.{name}": value for name, value in features.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def measure(trunk):
    return PerceptualDistance.open(str(trunk), sha256=None)


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, PASS + 3, 3, 32, 32), generator=generator, dtype=torch.uint8)


def filled(network, trunk):
    """Another implementation with the trunk's weights in its slices."""
    state = torch.load(trunk, weights_only=True)
    own = network.net.state_dict()
    network.net.load_state_dict({name: state["features." + name.split(".", 1)[1]] for name in own})
    return network.eval()


def test_the_libraries_find_the_same(measure, trunk, pair):
    image, original = (one[:4].float() / 127.5 - 1 for one in pair)
    found = measure(*(one[:4] for one in pair))
    theirs = filled(lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False), trunk)
    # torch rounds batches of 16 and of 4 otherwise.
    torch.testing.assert_close(found, theirs(image, original).flatten(), rtol=1e-5, atol=0)
    metric = filled(_LPIPS(pretrained=True, net="vgg", pnet_rand=True), trunk)
    torch.testing.assert_close(found, metric(image, original).flatten(), rtol=1e-5, atol=0)


def test_an_image_is_at_no_distance_from_itself_and_two_are_as_far_both_ways(measure, pair):
    one, other = (images[:2] for images in pair)
    assert measure(one, one).tolist() == [0, 0]
    assert torch.equal(measure(one, other), measure(other, one))
    assert (measure(one, other) > 0).all()


def test_an_image_keeps_its_bits_whatever_stands_beside_it(measure, pair):
    whole = measure(*pair)
    assert len(whole) == PASS + 3
    assert torch.equal(measure(*(one[PASS:] for one in pair)), whole[PASS:])


def test_floats_and_bytes_are_the_same_image(measure, pair):
    one, other = (images[:2] for images in pair)
    shown = measure(one.float() / 127.5 - 1, other.float() / 127.5 - 1)
    assert torch.equal(shown, measure(one, other))
    grey = [images[:2, :1] for images in pair]
    assert torch.equal(measure(*grey), measure(*(one.repeat(1, 3, 1, 1) for one in grey)))


def test_the_digest_is_looked_at(trunk, measure, tmp_path):
    digest = hashlib.sha256(trunk.read_bytes()).hexdigest()
    assert measure.digest == digest
    with pytest.raises(BadInput, match=f"has the sha256 {digest}, expected {'0' * 64}"):
        PerceptualDistance.open(str(trunk), sha256="0" * 64)
    with pytest.raises(BadInput, match=r"no file at .*vgg16-397923af.pth"):
        PerceptualDistance.open(str(tmp_path / "absent.pth"), sha256=None)


def test_images_too_small_are_refused(measure):
    small = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(BadInput, match="8x8 pixels"):
        measure(small, small)
