import pytest

from data_pipeline.order.exclusion import NOTHING
from data_pipeline.order.exclusion import Exclusion


@pytest.mark.parametrize(
    ("start", "stop", "touches"),
    [(0, 8, False), (8, 16, True), (0, 9, True), (15, 30, True), (16, 24, False), (40, 41, True)],
)
def test_a_batch_is_left_out_if_it_holds_one_such_position(start, stop, touches) -> None:
    assert Exclusion(((8, 16), (40, 48))).touches(start, stop) is touches


def test_nothing_is_left_out_unless_it_is_named() -> None:
    assert not NOTHING.touches(0, 2**40)
