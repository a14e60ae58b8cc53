"""How smooth a latent is, by the closest standard definitions: `standard/1`.

Every channel's map counts by itself, whatever its scale: power is shared out within a channel, and
differences and products are of maps brought to mean 0 and variance 1. A statistic of an image is
the mean over its channels. `latent_statistics`, by which SimFlow's own numbers are to be compared,
takes the power of all channels together instead, the share of other frequencies, and differences
in units of the latent; numbers of the two are not the same.

For white noise on 16x16 cells: entropy 0.924, high-frequency ratio 0.812 (radial) and 0.686 (box),
total variation 1.128, autocorrelation -0.003.
"""

import math

import torch
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Float64
from torch import Tensor

VERSION = "standard/1"
HIGH = 0.25  # cycles per cell: half of the highest frequency of a row


def spectral_entropy(latent: Float[Tensor, "N C h w"]) -> Float64[Tensor, "N"]:
    """Entropy of each channel's power over that of a flat spectrum, the mean left out: 0 to 1."""
    share = _power(latent).flatten(2)
    frequencies = share.shape[2] - 1
    entropy = torch.special.entr(share).sum(dim=2)
    return entropy.mean(dim=1) / math.log(max(frequencies, 2))


def high_frequency_ratio_radial(latent: Float[Tensor, "N C h w"]) -> Float64[Tensor, "N"]:
    """Share of each channel's power outside a circle of 0.25 cycles per cell."""
    rows, columns = _frequencies(latent)
    is_high = rows.square() + columns.square() > HIGH**2
    return _share(latent, is_high)


def high_frequency_ratio_box(latent: Float[Tensor, "N C h w"]) -> Float64[Tensor, "N"]:
    """Share of each channel's power outside a square of 0.25 cycles per cell."""
    rows, columns = _frequencies(latent)
    return _share(latent, torch.maximum(rows.abs(), columns.abs()) > HIGH)


def total_variation(latent: Float[Tensor, "N C h w"]) -> Float64[Tensor, "N"]:
    """Mean absolute difference of neighbouring cells of unit-variance maps, both axes averaged."""
    map_ = _standardised(latent)
    return (map_.diff(dim=2).abs().mean((1, 2, 3)) + map_.diff(dim=3).abs().mean((1, 2, 3))) / 2


def autocorrelation(latent: Float[Tensor, "N C h w"]) -> Float64[Tensor, "N"]:
    """Mean product of neighbouring cells of standardised maps, both axes averaged."""
    map_ = _standardised(latent)
    rows = (map_[:, :, :-1] * map_[:, :, 1:]).mean(dim=(1, 2, 3))
    columns = (map_[..., :-1] * map_[..., 1:]).mean(dim=(1, 2, 3))
    return (rows + columns) / 2


def _power(latent: Float[Tensor, "N C h w"]) -> Float64[Tensor, "N C h w"]:
    """Each channel's power by frequency as shares of it; a constant map has none."""
    latent = latent.double()
    spectrum = torch.fft.fft2(latent - latent.mean(dim=(2, 3), keepdim=True))
    power = spectrum.abs().square()
    power[:, :, 0, 0] = 0
    return power / power.sum(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(power.dtype).tiny)


def _frequencies(
    latent: Float[Tensor, "N C h w"],
) -> tuple[Float64[Tensor, "h 1"], Float64[Tensor, "1 w"]]:
    """Cycles per cell of each row and column of a spectrum."""
    *_, height, width = latent.shape
    rows, columns = (torch.fft.fftfreq(n, dtype=torch.float64) for n in (height, width))
    return rows[:, None].to(latent.device), columns[None, :].to(latent.device)


def _share(latent: Float[Tensor, "N C h w"], where: Bool[Tensor, "h w"]) -> Float64[Tensor, "N"]:
    return _power(latent)[:, :, where].sum(dim=2).mean(dim=1)


def _standardised(latent: Float[Tensor, "N C h w"]) -> Float64[Tensor, "N C h w"]:
    """Maps of mean 0 and variance 1; a constant map is 0."""
    latent = latent.double()
    latent = latent - latent.mean(dim=(2, 3), keepdim=True)
    variance = latent.square().mean(dim=(2, 3), keepdim=True)
    return latent / variance.clamp_min(torch.finfo(latent.dtype).tiny).sqrt()
