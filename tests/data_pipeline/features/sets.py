"""Feature sets of made-up numbers, for shards of images."""

from pathlib import Path

import numpy as np

from data_pipeline.features.feature_set import encode
from data_pipeline.features.record import MIRRORED
from data_pipeline.features.record import Feature
from data_pipeline.features.record import FeatureRecord
from data_pipeline.features.unfinished import Unfinished
from data_pipeline.shards.manifest import Manifest

FEATURES = {
    "moments": Feature(shape=(2, 3, 3), dtype="float32", computed_in="float32", weights="one"),
    "teacher": Feature(shape=(5,), dtype="float16", computed_in="float32", weights="two"),
}


def record(digits: Manifest, /, **changes: object) -> FeatureRecord:
    """Of a split of the digits."""
    values = {
        "images": {digits.shards[0].split: digits.digest},
        "image_size": 8,
        "image_channels": 1,
        "crop": "none",
        "mirrored": True,
        "features": FEATURES,
    }
    return FeatureRecord.model_validate(values | changes)


def arrays(sample: int) -> dict[str, np.ndarray]:
    """The numbers of a sample: whole ones that float16 holds, each mirrored one its negative."""
    made = {
        "moments": np.full((2, 3, 3), sample, np.float32),
        "teacher": np.arange(sample, sample + 5, dtype=np.float16),
    }
    return made | {name + MIRRORED: -array for name, array in made.items()}


def members(images: Manifest, shard: int) -> list[bytes]:
    """The members of a shard."""
    return [encode(arrays(s)) for s in range(*images.first[shard : shard + 2].tolist())]


def write_set(images: Manifest, folder: Path | str, empty: int | None = None) -> str:
    """Write a set for a split of images, one sample's member empty; its url."""
    unfinished = Unfinished(str(folder), images, record(images))
    unfinished.start()
    for number, shard in enumerate(images.shards):
        made = members(images, number)
        if empty is not None and 0 <= empty - int(images.first[number]) < shard.samples:
            made[empty - int(images.first[number])] = b""
        unfinished.keep(shard, made)
    assert unfinished.finish() == 0
    return str(folder)
