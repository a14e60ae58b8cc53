from pathlib import Path

import lpips
import pytest
import torch
import torchvision

from system.foundation.errors import BadInput
from system.objectives.perceptual import PerceptualLoss


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
