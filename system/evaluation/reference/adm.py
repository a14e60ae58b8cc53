"""The reference that the field shares: the npz of ADM's evaluator, of which any part may be there.

    mu, sigma      mean and covariance of Inception's pooled features of the whole training set
    mu_s, sigma_s  the same of its spatial features, channels innermost (sFID)
    arr_0          10,000 images, for precision and recall alone

It does not say how it was made: it is taken to be what was published. Moments are read at once,
images only when they are asked for.

Source: guided-diffusion's evaluator (Dhariwal & Nichol 2021, arXiv 2105.05233), its file format.
"""

import hashlib

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from system.evaluation.reference.reference import Reference
from system.evaluation.sources.archive import IMAGES
from system.evaluation.sources.archive import MOMENTS
from system.evaluation.sources.archive import checksum
from system.evaluation.sources.archive import images_shape
from system.evaluation.sources.archive import member_names
from system.evaluation.sources.archive import open_member
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput
from system.foundation.errors import DataError

PAIRS = (("mu", "sigma"), ("mu_s", "sigma_s"))
ASYMMETRY = 1e-5  # of the largest entry, which float32 explains
COUNT = 2**20 + 1  # nobody says of how many images: about ImageNet's, and less one a power of two


def read_adm(url: str) -> Reference:
    """The reference in an npz file. Raises DataError where moments are missing or unsound."""
    names = member_names(url)
    for mean, covariance in PAIRS:
        if (mean in names) != (covariance in names):
            there, missing = (mean, covariance) if mean in names else (covariance, mean)
            raise DataError(f"{url} holds {there} without {missing}; expected both or neither")
    if not any(mean in names for mean, _ in PAIRS):
        held = ", ".join(names) or "nothing"
        advice = (
            f" Its images can become one: jobs/reference_statistics.py archive={url}"
            if IMAGES in names
            else ""
        )
        raise BadInput(
            f"{url} was given as a reference and holds {held}; expected moments (mu and sigma, or "
            f"mu_s and sigma_s).{advice}"
        )
    moments, spatial = (_read_pair(url, pair) if pair[0] in names else None for pair in PAIRS)
    return Reference(
        url=url,
        digest=_digest(url, names),
        provenance=None,
        moments=moments,
        spatial=spatial,
        kept=None,
        shown=images_shape(url) if IMAGES in names else None,
        knows_count=False,
    )


def _read_pair(url: str, pair: tuple[str, str]) -> FeatureStatistics:
    mean, covariance = (_read(url, name) for name in pair)
    what = f"{url}: {pair[0]} {list(mean.shape)} and {pair[1]} {list(covariance.shape)}"
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise DataError(f"{what}; expected shapes [F] and [F, F]")
    largest = covariance.abs().max()
    if (covariance - covariance.T).abs().max() > ASYMMETRY * largest:
        raise DataError(f"{what}: {pair[1]} is not symmetric, so it is no covariance")
    if covariance.diagonal().min() < -ASYMMETRY * largest:
        raise DataError(f"{what}: {pair[1]} has a negative variance, so it is no covariance")
    scatter = (COUNT - 1) * ((covariance + covariance.T) / 2)  # exact, and so is its division
    return FeatureStatistics(COUNT, mean, scatter)


def _read(url: str, name: str) -> Float64[Tensor, "..."]:
    with open_member(url, name) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype not in (np.float32, np.float64):
        raise DataError(f"{url}: {name} is {array.dtype}; expected float64 or float32")
    if not np.isfinite(array).all():
        raise DataError(f"{url}: {name} has values that are not finite; expected finite ones")
    return torch.from_numpy(array.astype(np.float64))


def _digest(url: str, names: list[str]) -> str:
    """Of every known array in the file by its checksum there, which reading it verifies."""
    state = hashlib.blake2b(digest_size=16)
    for name in (*MOMENTS, IMAGES):
        if name in names:
            state.update(f"{name} {checksum(url, name)}\n".encode())
    return state.hexdigest()
