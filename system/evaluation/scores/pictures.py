"""How like an image is to its original, pixel by pixel and window by window.

Images are 8-bit, or floats in [-1, 1] as a decoder gives them; either way the range of values is
brought to 1 first, so a score of one kind is a score of the other but for rounding to 8 bits. Both
scores are per image; a set's is their mean, not the score of the mean error.
"""

import torch
from jaxtyping import Float
from jaxtyping import Float64
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from system.foundation.errors import BadInput

WINDOW = 11  # pixels
SIGMA = 1.5  # pixels, of the window's Gaussian
STABILISERS = 0.01**2, 0.03**2  # of means and of variances, for a range of 1

Pixels = UInt8[Tensor, "B C H W"] | Float[Tensor, "B C H W"]


def peak_signal_to_noise(image: Pixels, original: Pixels) -> Float64[Tensor, "B"]:
    """PSNR of each image in decibels; the squared error is floored at 1e-10 of the range."""
    error = _unit(image) - _unit(original)
    return -10 * error.square().mean(dim=(1, 2, 3)).clamp_min(1e-10).log10()


def structural_similarity(image: Pixels, original: Pixels) -> Float64[Tensor, "B"]:
    """SSIM of each image, at most 1: the mean over channels and pixels.

    A pixel's window is an 11x11 Gaussian of standard deviation 1.5; beyond the edge the image is
    reflected, as TorchMetrics has it. (The authors' program leaves out windows that leave the
    image.) Variances are those of the window itself. Raises BadInput for images below 6x6.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural
    similarity".
    """
    height, width = image.shape[2:]
    least = WINDOW // 2 + 1  # or the edge cannot be reflected
    if min(height, width) < least:
        raise BadInput(
            f"found images of {height}x{width} pixels; SSIM needs at least {least}x{least} for its "
            f"window of {WINDOW}x{WINDOW}"
        )
    x, y = _unit(image), _unit(original)
    mean_x, mean_y = _smooth(x), _smooth(y)
    variance_x = (_smooth(x * x) - mean_x**2).clamp_min(0)
    variance_y = (_smooth(y * y) - mean_y**2).clamp_min(0)
    covariance = _smooth(x * y) - mean_x * mean_y
    c1, c2 = STABILISERS
    means = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (means * contrast).mean(dim=(1, 2, 3))


def _unit(image: Pixels) -> Float64[Tensor, "B C H W"]:
    """Values from 0 to 1."""
    return image.double() / 255 if image.dtype == torch.uint8 else (image.double() + 1) / 2


def _smooth(image: Float64[Tensor, "B C H W"]) -> Float64[Tensor, "B C H W"]:
    """The Gaussian mean of every pixel's window."""
    far, channels = WINDOW // 2, image.shape[1]
    at = torch.arange(-far, far + 1, dtype=torch.float64, device=image.device)
    weight = (-(at**2) / (2 * SIGMA**2)).exp()
    weight = (weight / weight.sum()).expand(channels, 1, 1, WINDOW)
    image = functional.pad(image, (far, far, far, far), mode="reflect")
    rows = functional.conv2d(image, weight, groups=channels)
    return functional.conv2d(rows, weight.transpose(2, 3), groups=channels)
