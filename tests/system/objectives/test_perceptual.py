from pathlib import Path

import lpips
import pytest
import torch
import torchvision

from system.foundation.errors import BadInput
from system.objectives.perceptual import PerceptualLoss
from system.objectives.perceptual import read_trunk


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A VGG-16 with seeded random weights, in torchvision's format."""
    torch.manual_seed(0)
    features = torchvision.models.vgg16(weights=None).features
    state = {f"features.{name}": value for name, value in features.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(state, path)
    return path, state


def test_distance_equals_the_librarys_with_the_same_trunk(
    trunk: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    path, state = trunk
    loss = PerceptualLoss(str(path))
    reference = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    vgg = torchvision.models.vgg16(weights=None)
    vgg.load_state_dict(state, strict=False)
    for place, layer in enumerate(vgg.features):
        for piece in (getattr(reference.net, f"slice{n}") for n in range(1, 6)):
            if str(place) in piece._modules:
                piece._modules[str(place)] = layer
    one, other = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    assert loss(one, other).item() == pytest.approx(reference(one, other).mean().item(), rel=1e-5)
    assert loss(one, one).item() == 0


def test_grey_images_are_shown_as_three_channels(
    trunk: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    loss = PerceptualLoss(str(trunk[0]))
    one, other = torch.rand(2, 2, 1, 32, 32) * 2 - 1
    assert loss(one, other).item() == loss(one.repeat(1, 3, 1, 1), other.repeat(1, 3, 1, 1)).item()


def test_gradients_reach_the_image_and_nothing_inside(
    trunk: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    loss = PerceptualLoss(str(trunk[0]))
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    loss(image, torch.rand(1, 3, 32, 32)).backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0
    assert all(p.grad is None for p in loss.parameters())


def test_a_missing_or_wrong_trunk_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"vgg16-397923af\.pth"):
        PerceptualLoss(str(tmp_path / "absent.pth"))
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(BadInput, match="25 of 26 tensors"):
        PerceptualLoss(str(tmp_path / "other.pth"))


def test_a_file_that_torch_cannot_read_is_named(
    tmp_path: Path, trunk: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    place = tmp_path / "damaged.pth"
    whole = trunk[0].read_bytes()
    for content in (b"", b"hello", b"<html>not found</html>", whole[:1000], whole[:-1000]):
        place.write_bytes(content)
        with pytest.raises(BadInput, match=r"damaged\.pth is no file .* vgg16-397923af\.pth"):
            read_trunk(str(place))


@pytest.mark.parametrize("content", [torch.zeros(3), ["a"], {"features.0.weight": "text"}])
def test_a_file_of_something_else_is_named(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(BadInput, match="26 of 26 tensors"):
        read_trunk(str(tmp_path / "other.pth"))


def test_weights_of_another_shape_are_named(
    tmp_path: Path, trunk: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    torch.save(trunk[1] | {"features.2.bias": torch.zeros(5)}, tmp_path / "other.pth")
    with pytest.raises(BadInput, match=r"features\.2\.bias of .* has shape \(5,\); expected \(64,"):
        read_trunk(str(tmp_path / "other.pth"))
