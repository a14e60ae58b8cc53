"""LPIPS of each image: how far it is from its original to a VGG-16's eye.

The trunk's weights are a file that others published, read by path or url and known by its digest;
the small linear heads come with the library. Images are 8-bit, or floats in [-1, 1] as a decoder
gives them; the network sees [-1, 1] either way.

    measure = PerceptualDistance.open("weights/vgg16-397923af.pth", sha256=None)
    distance = measure(decoded, original)  # one for each image

Source: Zhang et al. 2018, arXiv 1801.03924, version 0.1 of its heads.
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from system.evaluation.scores.pictures import Pixels
from system.foundation import storage
from system.foundation.errors import BadInput
from system.objectives.perceptual import FILE
from system.objectives.perceptual import PerceptualLoss

PASS = 16  # images that the network sees at once, always
LEAST_SIZE = 16  # pixels: four halvings leave one


@dataclass(frozen=True, slots=True, eq=False)
class PerceptualDistance:
    """LPIPS with one trunk on one device."""

    network: PerceptualLoss
    digest: str  # sha256 of the trunk's file
    device: str

    @classmethod
    def open(cls, trunk: str, sha256: str | None, device: str = "cpu") -> "PerceptualDistance":
        """Read a trunk by path or url; a digest of None takes any VGG-16.

        Raises BadInput where the file is absent, is another one, or holds something else.
        """
        if not storage.exists(trunk):
            raise BadInput(
                f"LPIPS: no file at {trunk}; expected torchvision's VGG-16 weights, {FILE} (528 MB)"
                ". Put it there, or give the path or url of where it lies"
            )
        digest = hashlib.sha256(storage.read_bytes(trunk)).hexdigest()
        if sha256 is not None and digest != sha256:
            raise BadInput(
                f"LPIPS: {trunk} has the sha256 {digest}, expected {sha256}: it is damaged or "
                f"another file. Download {FILE} again, or correct the digest"
            )
        return cls(PerceptualLoss(trunk).to(device), digest, device)

    @torch.no_grad()
    def __call__(self, image: Pixels, original: Pixels) -> Float[Tensor, "B"]:
        """LPIPS of each image, at least 0. Grey images are shown as three equal channels.

        Images are looked at in passes of a fixed size, the last one filled up, so a distance has
        the same bits whatever stands beside the image. Raises BadInput for images too small.
        """
        if min(image.shape[2:]) < LEAST_SIZE:
            raise BadInput(
                f"found images of {image.shape[2]}x{image.shape[3]} pixels; LPIPS needs at least "
                f"{LEAST_SIZE}x{LEAST_SIZE}"
            )
        found = []
        for start in range(0, len(image), PASS):
            pair = [self._shown(one[start : start + PASS]) for one in (image, original)]
            distance = self.network.distance(*pair).flatten().cpu()
            found.append(distance[: len(image) - start])
        return torch.cat(found)

    def _shown(self, image: Pixels) -> Float[Tensor, "P 3 H W"]:
        """PASS images as the network sees them, the last one repeated."""
        there = torch.arange(PASS).clamp_max(len(image) - 1)
        image = image[there].to(self.device)
        shown = image.float() / 127.5 - 1 if image.dtype == torch.uint8 else image.float()
        return shown.expand(-1, 3, -1, -1)
