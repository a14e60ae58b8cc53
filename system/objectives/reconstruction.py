"""Pixel distance between the decoded and the original image."""

from jaxtyping import Float
from torch import Tensor

from system.foundation.settings.objective import Reconstruction


def reconstruction_loss(
    settings: Reconstruction,
    decoded: Float[Tensor, "B C H W"],
    image: Float[Tensor, "B C H W"],
) -> Float[Tensor, ""]:
    """Mean absolute or mean squared difference over pixels and samples."""
    difference = decoded - image
    match settings.kind:
        case "l1":
            return difference.abs().mean()
        case "l2":
            return difference.square().mean()
