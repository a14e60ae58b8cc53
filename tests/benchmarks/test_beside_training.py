"""The suite at a size where it says nothing of speed, all of its rows, and its arithmetic."""

import os

import pytest

from tests.benchmarks.beside_training import Scale
from tests.benchmarks.beside_training import rows
from tests.benchmarks.parts.beside import interval
from tests.benchmarks.parts.beside import slowdown

TINY = (
    "autoencoder.width=8", "flow.width=16", "flow.depths=[1, 1]", "flow.head_width=8",
    "evaluation.density_samples=1", "evaluation.gradient_samples=1",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2,
    reason="training and evaluation have a core each",
)
def test_every_row_comes_and_evaluation_goes_on_meanwhile():
    found = {row.name: row for row in rows(Scale(pairs=2, steps=5, settings=TINY))}
    assert len(found) == 9
    assert found["steps of training each way"].value == 10
    assert found["step alone"].value > 0
    assert found["share of its core that evaluation had"].value > 0
    assert [row.name for row in found.values() if row.bound] == ["step slower beside an evaluation"]


def test_blocks_are_compared_with_their_partners():
    assert slowdown([[2, 2, 9], [4]], [[3, 3, 3], [5]]) == [0.25, 0.5]


@pytest.mark.parametrize(("count", "left_out"), [(5, 0), (6, 0), (10, 1), (20, 5)])
def test_the_interval_of_a_median_is_that_of_the_sign_test(count, left_out):
    assert interval(range(count)) == (left_out, count - 1 - left_out)
