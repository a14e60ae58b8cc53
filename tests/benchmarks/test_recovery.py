"""The suite with one kill of one worker; its figures say nothing beside other tests."""

import pytest

from tests.benchmarks.recovery import Scale
from tests.benchmarks.recovery import rows


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_killed_run_goes_on_and_every_row_comes():
    small = ("autoencoder.width=8", "flow.width=16", "flow.depths=[1, 1]", "flow.head_width=8")
    found = {row.name: row.value for row in rows(Scale(kills=1, workers=1, settings=small))}
    assert len(found) == 10
    steps = [value for name, value in found.items() if name.startswith("from the kill")]
    assert steps[0] >= 0
    assert steps[1:] == sorted(steps[1:])
    assert (
        0
        < found["bare: process start and imports"]
        < found["bare: process start, imports and restore"]
    )
