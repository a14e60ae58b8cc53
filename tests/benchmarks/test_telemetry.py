"""The suite at a size where it says nothing of speed, all of its rows, and its arithmetic."""

import pytest

from tests.benchmarks.parts.watched import slowdown
from tests.benchmarks.telemetry import Scale
from tests.benchmarks.telemetry import rows
from tests.benchmarks.test_beside_training import TINY


@pytest.mark.slow
@pytest.mark.ray
def test_every_row_comes_and_everybody_was_watching():
    found = {row.name: row for row in rows(Scale(pairs=2, steps=20, settings=TINY))}
    assert len(found) == 10
    assert found["steps of training each way"].value == 40
    assert found["step watched"].value > 0
    assert found["reports that every sink was shown"].value >= 3
    assert found["of these, lost by a sink"].holds
    assert found["scrapes answered meanwhile"].value > 0


def test_blocks_count_by_their_means():
    assert slowdown([[1, 1], [2, 2]], [[1, 2], [2, 2]]) == [0.0, 0.5]
