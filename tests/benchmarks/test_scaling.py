"""The suite `scaling`: small worlds always, all of it where there is time."""

import pytest

from tests.benchmarks.scaling import Scale
from tests.benchmarks.scaling import rows

SMALL = Scale(real=(), worlds=(2, 5), stages=(2, 3), rounds=1, published=())


def test_what_a_worker_of_several_sends_is_as_predicted():
    found = list(rows(SMALL))
    assert len(found) == 2 * (2 + 3) + 4 + 2 + 1
    assert [f"{row.name}: {row.value:.2f}" for row in found if row.holds is False] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_real_workers_send_is_as_predicted():
    found = list(rows(Scale(real=("ZeRO-2", "ZeRO-3, two passes"), worlds=(2, 4), published=())))
    assert [f"{row.name}: {row.value:.2f}" for row in found if row.holds is False] == []
