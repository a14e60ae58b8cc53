"""Memory over many epochs: what is kept must be bounded, in the reader and in its processes."""

import numpy as np
import pytest

from tests.benchmarks.child import in_child
from tests.data_pipeline.soak import BATCH
from tests.data_pipeline.soak import soak

EPOCHS = 20
REPEATS = 20  # of the small set in an epoch of this test
BOUND = 2**20  # bytes per 10,000 samples


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
def test_memory_is_flat_over_many_epochs(photos, photo_data, monkeypatch, workers):
    # Random crops are never kept, so every image is read and decoded each time. In a process of
    # its own: what other tests left running would be measured too.
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    data = photo_data(workers=workers, flip=True, image_size=64, crop="random_resized")
    steps = EPOCHS * REPEATS * photos.samples // BATCH
    samples, main, processes = in_child(soak, photos.url, data.model_dump(mode="json"), steps)
    assert slope(samples, main) < BOUND
    assert slope(samples, processes) < BOUND
