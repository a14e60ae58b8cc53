"""Memory over many epochs: what is kept must be bounded, in the reader and in its processes."""

import gc
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.stream.loader import open_stream
from system.foundation.world import World

EPOCHS = 20
REPEATS = 20  # of the small set in an epoch of this test
BOUND = 2**20  # bytes per 10,000 samples


def resident(pid="self"):
    """Memory of a process that lies in RAM, without what it shares with others, bytes."""
    fields = Path(f"/proc/{pid}/status").read_text().split()
    return 1024 * int(fields[fields.index("RssAnon:") + 1])


def slope(samples, sizes):
    """Bytes per 10,000 samples: the median slope of all pairs, which a jump leaves alone."""
    pairs = [
        (sizes[j] - sizes[i]) / (samples[j] - samples[i])
        for i in range(len(samples))
        for j in range(i + 1, len(samples))
    ]
    return 10_000 * float(np.median(pairs))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_memory_is_flat_over_many_epochs(photos, photo_data, workers):
    # Random crops are never kept, so every image is read and decoded each time.
    data = photo_data(workers=workers, flip=True, image_size=64, crop="random_resized")
    batch = 48
    stream = open_stream(
        photos,
        data,
        seed=0,
        world=World(),
        global_batch=batch,
        micro_batch=batch,
        images_seen=0,
    )
    steps = EPOCHS * REPEATS * photos.samples // batch
    samples, main, processes = [], [], []
    for step in range(steps):
        next(stream)
        if step >= steps // 5 and step % 10 == 0:  # past the first growth to working size
            gc.collect()
            samples.append((step + 1) * batch)
            main.append(resident())
            processes.append(sum(resident(pid) for pid in stream.processes))
    stream.close()
    assert slope(samples, main) < BOUND
    assert slope(samples, processes) < BOUND
