"""The suite at a size where it says nothing of speed, and all of its rows."""

import pytest

from tests.benchmarks.fid import Scale
from tests.benchmarks.fid import rows


@pytest.mark.slow
def test_every_row_comes_and_the_distances_agree():
    found = {
        row.name: row for row in rows(Scale(4, features=5000, width=32, rounds=1, estimated=200))
    }
    assert found["relative difference of the two results"].holds
    assert found["memory of the whole process at its most"].holds
    assert all(row.value > 0 for row in found.values() if row.unit in ("s", "GFLOP/s", "GB"))
    assert found["features: of the product of matrices (MFU)"].value > 0
    assert found["operations of an image"].value == pytest.approx(11.4, abs=0.1)
    assert len(found) == 16
