"""The suite at a size where it says nothing of speed, and all of its rows."""

import pytest

from tests.benchmarks.checkpoint import Scale
from tests.benchmarks.checkpoint import rows

SMALL = Scale(
    rounds=1,
    updates=1,
    wide_rounds=1,
    settings=("autoencoder.width=8", "flow.depths=[1, 1]", "flow.head_width=8"),
    wide=("flow.width=64", "flow.depths=[1, 1]"),
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_row_comes_and_both_sides_copy_the_same():
    found = {row.name: row for row in rows(SMALL)}
    assert len(found) == 26
    assert all(row.value > 0 for row in found.values())
    for name in ("digits", "wider flow"):
        held, cloned = (found[f"{name}: state {how}"].value for how in ("held", "cloned"))
        assert held == pytest.approx(cloned, rel=0.02)
