"""The suite `plan`: all of it where there is time, two small cases always."""

import pytest

from tests.benchmarks.plan import CASES
from tests.benchmarks.plan import rows

QUICK = ("simflow_256, small",)


def held(names) -> None:
    found = list(rows(names))
    assert len(found) == 10 * len(names)
    assert [f"{row.name}: {row.value:.2f}" for row in found if not row.holds] == []


def test_a_real_update_is_as_predicted() -> None:
    held(QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in QUICK])
def test_every_other_case_is_as_predicted(name) -> None:
    held((name,))
