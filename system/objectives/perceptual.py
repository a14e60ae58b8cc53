"""Distance between images in the features of a VGG-16.

The library brings the small linear heads; the trunk is torchvision's file, read by path or url.

Source: LPIPS, arXiv 1801.03924.
"""

import io

import lpips
import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.foundation.errors import BadInput
from system.foundation.storage import exists
from system.foundation.storage import read_bytes


class PerceptualLoss(nn.Module):
    """LPIPS (VGG-16, version 0.1), frozen.

    Raises BadInput where the trunk's weights are absent or are not a VGG-16's.
    """

    def __init__(self, trunk_url: str) -> None:
        super().__init__()
        if not exists(trunk_url):
            raise BadInput(
                f"objective.perceptual.trunk: no file at {trunk_url}; expected torchvision's "
                "VGG-16 weights, vgg16-397923af.pth (528 MB). Download it, or set "
                "objective.perceptual.kind=none"
            )
        weights = torch.load(
            io.BytesIO(read_bytes(trunk_url)), weights_only=True, map_location="cpu"
        )
        self.distance = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        _fill_trunk(self.distance.net, weights, trunk_url)
        self.requires_grad_(False).eval()

    def forward(
        self, decoded: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"]
    ) -> Float[Tensor, ""]:
        """Mean distance over the batch. Grey images are shown as three equal channels."""
        shape = (-1, 3, -1, -1)
        return self.distance(decoded.expand(*shape), image.expand(*shape)).mean()


def _fill_trunk(trunk: nn.Module, weights: dict[str, Tensor], url: str) -> None:
    """Put torchvision's `features.N` weights into the library's slices, which keep each N."""
    wanted = {name: name.split(".", 1)[1] for name in trunk.state_dict()}
    missing = [
        f"features.{place}" for place in wanted.values() if f"features.{place}" not in weights
    ]
    if missing:
        raise BadInput(
            f"objective.perceptual.trunk: {url} lacks {', '.join(missing[:3])} "
            f"({len(missing)} of {len(wanted)} tensors); expected torchvision's vgg16-397923af.pth"
        )
    trunk.load_state_dict({name: weights[f"features.{place}"] for name, place in wanted.items()})
