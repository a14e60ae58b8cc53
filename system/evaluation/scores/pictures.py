"""How like an image is to its original, pixel by pixel."""

from jaxtyping import Float64
from jaxtyping import UInt8
from torch import Tensor


def peak_signal_to_noise(
    image: UInt8[Tensor, "B C H W"], original: UInt8[Tensor, "B C H W"]
) -> Float64[Tensor, "B"]:
    """PSNR of each 8-bit image in decibels; the squared error is floored at 1e-10 of the range.

    A set's PSNR is the mean of these, not the PSNR of the mean error.
    """
    error = (image.double() - original.double()) / 255
    return -10 * error.square().mean(dim=(1, 2, 3)).clamp_min(1e-10).log10()
