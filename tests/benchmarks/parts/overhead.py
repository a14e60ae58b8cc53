"""What the loader costs the training process per batch of 256x3x256x256, beside the copy.

The copy is the one that cannot be avoided: uint8 pixels of the ring to numbers in a tensor. It is
timed where it happens, and taken off. Time is that of the thread: waiting for pixels costs none.
"""

import statistics
import time

import torch

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream import placement
from data_pipeline.stream.loader import open_stream
from system.foundation.settings.data import Data
from system.foundation.world import World

BATCH = 256
SIZE = 256


def seconds_beside_the_copy(url: str, batches: int) -> float:
    """Median over batches, of this process's first thread."""
    torch.set_num_threads(1)
    manifest = read_manifest(url).split("train")
    data = Data(shards=url, image_size=SIZE, classes=manifest.classes, workers=2, prefetch=1)
    stream = open_stream(
        manifest,
        data,
        seed=0,
        world=World(),
        global_batch=BATCH,
        micro_batch=BATCH,
        images_seen=0,
    )
    copying = _TimedCopy()
    placement.normalised = copying  # the very function, with a clock around it
    try:
        beside = []
        for _ in range(batches):
            copying.seconds = 0.0
            start = time.thread_time()
            batch = next(stream)
            beside.append(time.thread_time() - start - copying.seconds)
            del batch  # giving its memory back is the copy's, too
    finally:
        placement.normalised = copying.inner
        stream.close()
    return statistics.median(beside[1:])


class _TimedCopy:
    """The copy to numbers, and how long it took."""

    def __init__(self) -> None:
        self.inner = placement.normalised
        self.seconds = 0.0

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        start = time.thread_time()
        copied = self.inner(image)
        self.seconds += time.thread_time() - start
        return copied
