import pytest
import torch
from safetensors.torch import save_file

from system.evaluation.detectors.detector import PASSES
from system.evaluation.detectors.inception import InceptionDetector
from system.evaluation.detectors.inception import read_inception
from system.evaluation.detectors.weights import INCEPTION
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from tests.random_inception import random_inception


@pytest.fixture(scope="module")
def image():
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randint(0, 256, (PASSES["cpu"] + 1, 3, 32, 40), generator=generator).byte()
    drawn[0, 1:] = drawn[0, :1]  # the first is grey
    return drawn


@pytest.fixture(scope="module")
def seen(inception, image):
    return inception.look(image)


def test_what_it_sees(seen, image):
    count = len(image)
    assert seen.features.shape == (count, 2048)
    assert seen.spatial.shape == (count, 2023)
    assert seen.logits.shape == (count, 1008)
    assert all(part.dtype == torch.float32 for part in (seen.features, seen.spatial, seen.logits))


def test_bits_do_not_depend_on_the_batch(inception, image, seen):
    alone = inception.look(image[-1:])  # the first of a pass here as there
    assert torch.equal(alone.features, seen.features[-1:])
    assert torch.equal(alone.spatial, seen.spatial[-1:])
    assert torch.equal(alone.logits, seen.logits[-1:])


def test_grey_is_shown_as_three_equal_channels(inception, image, seen):
    assert torch.equal(inception.look(image[:1, :1]).features, seen.features[:1])


def test_the_rule_changes_what_it_sees(inception, image, seen):
    other = InceptionDetector(inception.network, digest=inception.digest, resize="bilinear")
    assert other.name != inception.name
    moved = other.look(image[:1]).features - seen.features[:1]
    assert moved.norm() > 1e-4 * seen.features[:1].norm()


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(inception, channels):
    with pytest.raises(DataError, match=f"{channels} channels"):
        inception.look(torch.zeros(1, channels, 32, 32, dtype=torch.uint8))


def test_without_a_rule_the_size_has_to_be_right(inception):
    bare = InceptionDetector(inception.network, digest=inception.digest, resize="none")
    with pytest.raises(DataError, match="299x299"):
        bare.look(torch.zeros(1, 3, 256, 256, dtype=torch.uint8))


def test_other_weights_are_an_error_unless_asked_for(inception_file, inception):
    # As long as the published file or not, the length is looked at first.
    with pytest.raises(BadInput, match=r"expected 95,628,359.*sha256 6726825d0af5f"):
        read_inception(inception_file, INCEPTION.sha256)
    _, digest = read_inception(inception_file, inception.digest)
    assert digest == inception.digest
    with pytest.raises(BadInput, match=f"sha256 {digest}, expected {'0' * 64}"):
        read_inception(inception_file, "0" * 64)


def test_safetensors_will_do(tmp_path, inception):
    file = tmp_path / "inception.safetensors"
    save_file(random_inception(0), file)
    network, digest = read_inception(str(file), None)
    assert digest != inception.digest  # other bytes
    assert torch.equal(network.fc.weight, inception.network.fc.weight)


def test_weights_of_another_network_are_refused(tmp_path):
    weights = random_inception(0)
    weights["fc.weight"] = torch.zeros(1000, 2048)  # torchvision's
    weights["AuxLogits.fc.bias"] = torch.zeros(1000)
    del weights["Mixed_7c.branch_pool.bn.bias"]
    file = tmp_path / "torchvision.pth"
    torch.save(weights, file)
    with pytest.raises(BadInput, match=r"1 tensors are missing, 1 unknown, 1 of another shape"):
        read_inception(str(file), None)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not whole", b"<html>not found</html>"])
def test_a_damaged_file_is_named(tmp_path, content):
    file = tmp_path / "cut.pth"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"cut\.pth.*damaged"):
        read_inception(str(file), None)


def test_no_code_of_a_file_is_run(tmp_path):
    class Mischief:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save({"fc.weight": Mischief()}, tmp_path / "bad.pth")
    with pytest.raises(BadInput):
        read_inception(str(tmp_path / "bad.pth"), None)
    assert not (tmp_path / "made").exists()


@pytest.mark.gpu
def test_a_gpu_sees_the_same_to_rounding(inception_file, inception, image, seen):
    network, digest = read_inception(inception_file, None)
    there = InceptionDetector(network, digest=digest, resize="tf1_bilinear", device="cuda")
    found = there.look(image)
    for kind in ("features", "spatial", "logits"):
        wanted = getattr(seen, kind)
        assert (getattr(found, kind) - wanted).norm() <= 1e-4 * wanted.norm()
