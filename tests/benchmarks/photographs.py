"""Real photographs as ImageNet has them: crops of about 375x500, JPEG at quality 95, packed.

They are cut from the two photographs that come with scikit-learn, every one at another place, a
quarter of them turned upright. Encoded they are about 90 kB, as in ImageNet.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from data_pipeline.pack.pack import pack
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.sources.image_folder import ImageFolder

QUALITY = 95
SHARD_SAMPLES = 180


@dataclass(frozen=True, slots=True)
class PackedPhotographs:
    """A tree of class folders, and the shards that were packed from it with bytes kept."""

    folder: str
    shards: str


def write_photographs(root: Path, count: int) -> PackedPhotographs:
    """Write `count` JPEGs and pack them. Takes about 6 ms each."""
    sources = [np.asarray(image) for image in load_sample_images().images]
    draws = np.random.default_rng(0)
    folder, shards = root / "photographs", root / "shards"
    for number in range(count):
        image = _cut(sources[number % len(sources)], draws)
        place = folder / f"class_{number % 10}" / f"{number:05d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(jpeg(image.transpose(1, 0, 2) if number % 4 == 3 else image))
    source = ImageFolder(url=str(folder))
    pack(PackRecipe(source=source, out=str(shards), shard_samples=SHARD_SAMPLES, check="header"))
    return PackedPhotographs(str(folder), str(shards))


def jpeg(image: np.ndarray) -> bytes:
    """An array as JPEG bytes."""
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(target, format="JPEG", quality=QUALITY)
    return target.getvalue()


def usual_photograph() -> np.ndarray:
    """One of 375x500 pixels."""
    return np.ascontiguousarray(load_sample_images().images[0][:375, :500])


def _cut(photograph: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    height, width = int(draws.integers(366, 385)), int(draws.integers(490, 511))
    top = int(draws.integers(0, photograph.shape[0] - height + 1))
    left = int(draws.integers(0, photograph.shape[1] - width + 1))
    return photograph[top : top + height, left : left + width]
