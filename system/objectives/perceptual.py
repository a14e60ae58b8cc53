"""Distance between images in the features of a VGG-16.

The library brings the small linear heads; the trunk is torchvision's file, read by path or url.

Source: LPIPS, arXiv 1801.03924.
"""

import io
from pickle import UnpicklingError
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.foundation.errors import BadInput
from system.foundation.storage import exists
from system.foundation.storage import read_bytes

FILE = "vgg16-397923af.pth"


class PerceptualLoss(nn.Module):
    """LPIPS (VGG-16, version 0.1), frozen. Without a trunk's url its weights are as drawn: enough
    to count it.

    Raises BadInput where the trunk's weights are absent or are not a VGG-16's.
    """

    def __init__(self, trunk_url: str | None) -> None:
        super().__init__()
        import lpips  # and torchvision: seconds of every start, where nothing else needs them

        weights = None if trunk_url is None else read_trunk(trunk_url)
        self.distance = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        if weights is not None:
            _fill_trunk(self.distance.net, weights)
        self.requires_grad_(False).eval()

    def forward(
        self, decoded: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"]
    ) -> Float[Tensor, ""]:
        """Mean distance over the batch. Grey images are shown as three equal channels."""
        shape = (-1, 3, -1, -1)
        return self.distance(decoded.expand(*shape), image.expand(*shape)).mean()


def read_trunk(url: str) -> dict[str, Tensor]:
    """The weights of a VGG-16's convolutions, by torchvision's names.

    Raises BadInput where the file is absent, unreadable, or holds something else.
    """
    if not exists(url):
        raise BadInput(
            f"objective.perceptual.trunk: no file at {url}; expected torchvision's VGG-16 weights, "
            f"{FILE} (528 MB). Download it, or set objective.perceptual.kind=none"
        )
    try:
        weights = torch.load(io.BytesIO(read_bytes(url)), weights_only=True, map_location="cpu")
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInput(
            f"objective.perceptual.trunk: {url} is no file of torch's weights, or a damaged one "
            f"({said}); expected torchvision's {FILE} (528 MB). Download it again"
        ) from error
    return _checked(weights, url)


def _checked(weights: Any, url: str) -> dict[str, Tensor]:
    import torchvision

    with torch.device("meta"):
        trunk = torchvision.models.vgg16(weights=None).features
    wanted = {f"features.{name}": value.shape for name, value in trunk.state_dict().items()}
    there = weights if isinstance(weights, dict) else {}
    missing = [name for name in wanted if not isinstance(there.get(name), Tensor)]
    if missing:
        raise BadInput(
            f"objective.perceptual.trunk: {url} lacks {', '.join(missing[:3])} "
            f"({len(missing)} of {len(wanted)} tensors); expected torchvision's {FILE}"
        )
    for name, shape in wanted.items():
        if there[name].shape != shape:
            raise BadInput(
                f"objective.perceptual.trunk: {name} of {url} has shape "
                f"{tuple(there[name].shape)}; expected {tuple(shape)}, as in torchvision's {FILE}"
            )
    return {name: there[name] for name in wanted}


def _fill_trunk(trunk: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put torchvision's `features.N` weights into the library's slices, which keep each N."""
    places = {name: name.split(".", 1)[1] for name in trunk.state_dict()}
    trunk.load_state_dict({name: weights[f"features.{place}"] for name, place in places.items()})
