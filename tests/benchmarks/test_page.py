"""The suite at a size where it says nothing of speed: all of its rows come, and are sane."""

import pytest

from tests.benchmarks.page import measured
from tests.system.observe.status.browser import CHROMIUM


@pytest.mark.slow
@pytest.mark.skipif(
    not CHROMIUM.exists(),
    reason="a browser paints: chromium, which .ci/run installs",
)
def test_every_row_comes():
    found = {row.name: row for row in measured(3, 40)}
    assert len(found) == 5
    assert 0.01 < found["ledgers"].value < 1
    assert all(row.value > 0 for row in found.values())
    bounded = [row.name for row in found.values() if row.bound]
    assert bounded == ["first paint, just started", "first paint, all rows"]
