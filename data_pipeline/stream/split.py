"""A whole split in memory, as evaluation and small trainings want it."""

import logging
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from jaxtyping import UInt8
from torch import Tensor

from data_pipeline.decoding.image_reader import ImageReader
from data_pipeline.decoding.image_reader import too_many_bad
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import check_manifest
from system.foundation.philox import generator
from system.foundation.settings.data import Data

_log = logging.getLogger(__name__)


class WholeSplit(NamedTuple):
    """All samples of a split, in the manifest's order."""

    image: UInt8[Tensor, "N C H W"]
    label: Int[Tensor, "N"]
    keys: tuple[str, ...]


def read_split(manifest: Manifest, data: Data, most: int | None = None) -> WholeSplit:
    """Images of a split that fit in memory, cropped, not mirrored; no selection is made.

    All of them, or of a larger split `most`, the same ones always, spread over all of it. Bad
    samples are left out and logged. Raises DataError where they are more than
    `data.max_bad_fraction`, or where the shards are not what the recipe expects.
    """
    check_manifest(manifest, data)
    chosen = np.arange(manifest.samples)
    if most is not None and most < len(chosen):
        chosen = np.sort(generator(0, "split/chosen").permutation(len(chosen))[:most])
    images, bad = ImageReader(manifest, data).read_many(chosen)
    for entry in bad.values():
        _log.warning("left out %s (%s): %s", entry.key, entry.place, entry.reason)
    if len(bad) > data.max_bad_fraction * len(chosen):
        raise too_many_bad(next(iter(bad.values())), len(bad), len(chosen), data)
    good = np.array([row for row in range(len(chosen)) if row not in bad], np.int64)
    return WholeSplit(
        torch.from_numpy(images[good].transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(manifest.labels[chosen[good]].astype(np.int64)),
        tuple(manifest.key(sample) for sample in chosen[good].tolist()),
    )
