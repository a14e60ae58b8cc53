"""Images per second on one core: delivered batches against WebDataset with Pillow, and a bare loop.

The other side reads the same shards with `webdataset.WebDataset`, decodes and crops with Pillow as
ADM does, and puts the squares into a batch of uint8: no DataLoader, no collation, nothing that
would slow it down. The bare loop decodes and crops bytes that lie in memory.
"""

import io
import itertools
import os
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import webdataset
import xxhash
from PIL import Image

from data_pipeline.decoding.host_batches import HostBatches
from data_pipeline.decoding.host_batches import open_batches
from data_pipeline.images.crop import to_square_into
from data_pipeline.images.decode import decode
from data_pipeline.reading.shard_reader import ShardReader
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import read_manifest
from system.foundation.settings.data import Data
from tests.benchmarks.rows import median_of_each

SIZE = 256
ROWS = 64
WARM_UP = 4  # batches: more than a fresh process has slots to fill


@dataclass(frozen=True, slots=True)
class Delivery:
    """Images per second of each side, and the share of images with the same pixels."""

    in_process: float
    through_a_process: float
    webdataset: float
    bare_loop: float
    same_pixels: float


def deliver(url: str, batches: int, rounds: int) -> Delivery:
    """Measure all sides in turn in this process, which is on one core already."""
    manifest = read_manifest(url).split("train")
    ours = _open(manifest, url, workers=0)
    others = _endless(url)
    encoded = _encoded(manifest, url, batches * ROWS)
    sides: dict[str, Callable[[], float]] = {
        "in_process": lambda: _rate(lambda: next(ours), batches),
        "through_a_process": lambda: _through_a_process(manifest, url, batches),
        "webdataset": lambda: _rate(lambda: _webdataset_batch(others), batches),
        "bare_loop": lambda: _bare_loop(encoded),
    }
    same = _same_pixels(manifest, url)
    return Delivery(**median_of_each(sides, rounds), same_pixels=same)


def _open(manifest: Manifest, url: str, workers: int) -> HostBatches:
    data = Data(shards=url, image_size=SIZE, classes=manifest.classes, flip=False, workers=workers)
    return open_batches(manifest, data, seed=0, starts=itertools.count(0, ROWS), rows=ROWS)


def _rate(batch: Callable[[], object], batches: int) -> float:
    start = time.perf_counter()
    for _ in range(batches):
        batch()
    return batches * ROWS / (time.perf_counter() - start)


def _through_a_process(manifest: Manifest, url: str, batches: int) -> float:
    """The rate at which one decoding process delivers, once what it prepared ahead is used up."""
    opened = _open(manifest, url, workers=1)
    try:
        for _ in range(WARM_UP):
            next(opened)
        while opened.is_ready():
            next(opened)
        next(opened)  # so that time starts where a batch has just been finished
        return _rate(lambda: next(opened), batches)
    finally:
        opened.close()


def _samples(url: str) -> Iterator[dict]:
    names = sorted(name for name in os.listdir(url) if name.endswith(".tar"))
    places = [os.path.join(url, name) for name in names]
    yield from webdataset.WebDataset(places, shardshuffle=False)


def _endless(url: str) -> Iterator[dict]:
    while True:
        yield from _samples(url)


def _webdataset_batch(samples: Iterator[dict]) -> np.ndarray:
    batch = np.empty((ROWS, SIZE, SIZE, 3), np.uint8)
    for row, sample in enumerate(itertools.islice(samples, ROWS)):
        batch[row] = _with_pillow(sample["jpg"])
    return batch


def _with_pillow(data: bytes) -> np.ndarray:
    """ADM's crop as it was published."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    while min(*image.size) >= 2 * SIZE:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = SIZE / min(*image.size)
    fitted = (round(image.width * scale), round(image.height * scale))
    pixels = np.array(image.resize(fitted, Image.Resampling.BICUBIC))
    top, left = (pixels.shape[0] - SIZE) // 2, (pixels.shape[1] - SIZE) // 2
    return pixels[top : top + SIZE, left : left + SIZE]


def _encoded(manifest: Manifest, url: str, count: int) -> list[bytes]:
    data = Data(shards=url, image_size=SIZE, classes=manifest.classes)
    found = ShardReader(manifest, data).read_many(np.arange(count) % manifest.samples)
    return [each for each in found if isinstance(each, bytes)]


def _bare_loop(encoded: list[bytes]) -> float:
    batch = np.empty((ROWS, SIZE, SIZE, 3), np.uint8)
    start = time.perf_counter()
    for number, data in enumerate(encoded):
        to_square_into(batch[number % ROWS], decode(data, 3).image, "adm")
    return len(encoded) / (time.perf_counter() - start)


def _same_pixels(manifest: Manifest, url: str) -> float:
    """The share of all images whose pixels are the same on both sides, by key."""
    expected = {
        sample["__key__"]: xxhash.xxh3_64_intdigest(
            np.ascontiguousarray(_with_pillow(sample["jpg"]))
        )
        for sample in _samples(url)
    }
    opened = _open(manifest, url, workers=1)
    found: dict[str, int] = {}
    try:
        while len(found) < manifest.samples:
            batch = next(opened)
            keys = [key for part in batch.parts for key in part.keys]
            found |= {
                key: xxhash.xxh3_64_intdigest(image)
                for key, image in zip(keys, batch.image, strict=True)
            }
    finally:
        opened.close()
    return sum(found.get(key) == digest for key, digest in expected.items()) / len(expected)
