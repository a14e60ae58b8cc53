import json
import os
from dataclasses import asdict
from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.decoding.ring import LINE_BYTES
from data_pipeline.decoding.ring import Ring
from data_pipeline.decoding.ring import RingShape
from system.foundation.errors import ClusterError

SHAPE = RingShape(slots=3, rows=2, size=4, channels=3, processes=2)


def test_another_mapping_sees_the_same_slots():
    ring = Ring(SHAPE)
    other = Ring(SHAPE, os.dup(ring.descriptor))
    for slot in range(3):
        ring.pixels[slot] = slot + 1
        ring.labels[slot] = [10 * slot, -slot]
    assert other.pixels.shape == (3, 2, 4, 4, 3)
    assert np.array_equal(other.pixels, ring.pixels)
    assert other.labels.tolist() == [[0, 0], [10, -1], [20, -2]]
    assert SHAPE.bytes == 2 * LINE_BYTES + 8 * 6 + 3 * 2 * 48


def test_lines_say_what_each_process_is_at():
    ring = Ring(SHAPE)
    ring.write_line(0, 7, "decoding")
    ring.write_line(1, -1, "é" * LINE_BYTES)
    first, second = ring.read_line(0), ring.read_line(1)
    assert (first.position, first.text) == (7, "decoding")
    assert second.position == -1
    assert second.text.startswith("é" * 200), "cut where it is too long, even within a letter"
    assert 0 < first.since <= second.since
    assert not ring.pixels.any(), "lines lie beside the slots"


def test_features_lie_between_labels_and_pixels():
    features = [("odd", (3,), "float16"), ("map", (2, 2), "float32")]
    shape = replace(SHAPE, features=features)
    ring = Ring(shape)
    other = Ring(RingShape(**json.loads(json.dumps(asdict(shape)))), os.dup(ring.descriptor))
    ring.labels[:], ring.pixels[:] = 7, 9
    for number, name in enumerate(("odd", "map")):
        ring.features[name][:] = number
        assert ring.features[name].flags.aligned
    assert other.features["odd"].shape == (3, 2, 3)
    assert other.features["map"].shape == (3, 2, 2, 2)
    assert (other.features["odd"] == 0).all()
    assert (other.features["map"] == 1).all()
    assert (other.labels == 7).all()
    assert (other.pixels == 9).all()
    assert shape.bytes == SHAPE.bytes + 40 + 96


def test_a_closed_ring_leaves_its_arrays_readable():
    ring = Ring(SHAPE)
    ring.pixels[:] = 5
    ring.close()
    ring.close()
    assert (ring.pixels == 5).all()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ring.descriptor)


@pytest.mark.parametrize("slots", [10**7, 10**12, 10**17])
def test_a_ring_beyond_the_machines_memory_is_refused(slots):
    with pytest.raises(ClusterError, match=r"\d GiB, and this machine has .* Lower data.prefetch"):
        Ring(RingShape(slots=slots, rows=256, size=256, channels=3, processes=2))
