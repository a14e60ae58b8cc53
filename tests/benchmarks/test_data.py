import pytest

from tests.benchmarks.data import Scale
from tests.benchmarks.data import rows

SMALL = Scale(photographs=72, batches=1, rounds=1, large_batches=2, samples=5000, ranks=4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_run_gives_every_row(tmp_path):
    # Figures of so few images, beside other tests, say nothing; what is measured has to work.
    found = list(rows(SMALL))
    names = [row.name for row in found]
    assert len(set(names)) == len(names)
    assert all(row.value >= 0 for row in found)
    exact = [row for row in found if row.name == "images with the same pixels"]
    assert [(row.value, row.holds) for row in exact] == [(100, True)]
    assert sum(row.bound is not None for row in found) == 13
