"""How smooth a latent is: four statistics of the posterior's mean, each of one sample: `simflow/1`.

The papers define them in words alone; these formulas are ours. They give for white noise what
SimFlow reports for an ordinary autoencoder, whose latent is nearly white: on 16x16 cells 61 of 256
frequencies lie outside the Nyquist circle, 0.238 of the power, and the entropy of 64 channels'
power together is 0.998 of its most. They are taken of the mean: a draw's noise, which is white,
would raise entropy, high frequencies and total variation by itself. `standard_statistics` has other
definitions of the same names.

Source: SimFlow, arXiv 2512.04084, its analysis of the latent space.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

VERSION = "simflow/1"


def spectral_entropy(latent: Float[Tensor, "N C h w"]) -> Float[Tensor, "N"]:
    """Entropy of the power spectrum, over that of a flat one: 1 is white, 0 a single wave."""
    share = _power(latent).flatten(1)
    return torch.special.entr(share).sum(dim=1) / math.log(share.shape[1])


def high_frequency_ratio(latent: Float[Tensor, "N C h w"]) -> Float[Tensor, "N"]:
    """Share of the power outside the Nyquist circle: the corners of the spectrum, in [0, 1]."""
    *_, height, width = latent.shape
    rows = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    columns = torch.fft.fftfreq(width, dtype=torch.float64)[None, :]
    is_outside = rows.square() + columns.square() > 0.25  # half a cycle per cell, squared
    return _power(latent)[:, is_outside.to(latent.device)].sum(dim=1)


def total_variation(latent: Float[Tensor, "N C h w"]) -> Float[Tensor, "N"]:
    """Mean absolute difference of neighbouring cells, of rows and of columns, averaged.

    In units of the latent, so it grows with the scale that an encoder chooses.
    """
    rows = latent.diff(dim=2).abs().mean(dim=(1, 2, 3))
    columns = latent.diff(dim=3).abs().mean(dim=(1, 2, 3))
    return (rows + columns) / 2


def autocorrelation(latent: Float[Tensor, "N C h w"]) -> Float[Tensor, "N"]:
    """Correlation of each channel with itself one cell further, of rows and columns, averaged.

    In [-1, 1]; a channel that is constant counts as 0.
    """
    rows = _correlation(latent[:, :, :-1, :], latent[:, :, 1:, :])
    columns = _correlation(latent[:, :, :, :-1], latent[:, :, :, 1:])
    return ((rows + columns) / 2).mean(dim=1)


def _power(latent: Float[Tensor, "N C h w"]) -> Float[Tensor, "N h w"]:
    """Power by frequency, summed over channels, as shares of the whole (float64)."""
    latent = latent.double()
    spectrum = torch.fft.fft2(latent - latent.mean(dim=(2, 3), keepdim=True))
    power = spectrum.abs().square().sum(dim=1)
    return power / power.sum(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(power.dtype).tiny)


def _correlation(
    first: Float[Tensor, "N C a b"], second: Float[Tensor, "N C a b"]
) -> Float[Tensor, "N C"]:
    """Pearson's correlation of two maps."""
    first = first.double() - first.double().mean(dim=(2, 3), keepdim=True)
    second = second.double() - second.double().mean(dim=(2, 3), keepdim=True)
    lengths = first.square().sum(dim=(2, 3)) * second.square().sum(dim=(2, 3))
    tiny = torch.finfo(lengths.dtype).tiny
    return (first * second).sum(dim=(2, 3)) / lengths.clamp_min(tiny).sqrt()
