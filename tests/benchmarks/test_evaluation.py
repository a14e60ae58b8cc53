"""The suite at a size where it says nothing of speed, and all of its rows."""

import pytest

from tests.benchmarks.evaluation import Scale
from tests.benchmarks.evaluation import rows


@pytest.mark.slow
def test_every_row_comes_and_the_distances_agree():
    found = {row.name: row for row in rows(Scale(features=5000, width=32, rounds=1, estimated=200))}
    assert found["relative difference of the two results"].holds
    assert found["memory of the whole process at its most"].holds
    assert all(row.value > 0 for row in found.values() if row.unit in ("s", "GFLOP/s", "GB"))
    assert len(found) == 12
