import pytest

from system.engine.schedules import averaging_decays
from system.engine.schedules import is_due
from system.engine.schedules import learning_rate
from system.foundation.settings.engine import Constant
from system.foundation.settings.engine import Cosine
from system.foundation.settings.engine import Engine


@pytest.mark.parametrize(
    ("images_seen", "expected"), [(0, 0.0), (25, 0.5), (50, 1.0), (51, 1.0), (10**6, 1.0)]
)
def test_constant_after_a_linear_start(images_seen: int, expected: float) -> None:
    assert learning_rate(Constant(warmup_images=50), 1.0, images_seen, 100) == expected


@pytest.mark.parametrize(
    ("images_seen", "expected"),
    [(10, 0.5), (20, 1.0), (60, 0.55), (100, 0.1), (140, 0.1)],
)
def test_cosine_falls_to_its_last_fraction(images_seen: int, expected: float) -> None:
    schedule = Cosine(warmup_images=20, final_fraction=0.1)
    assert learning_rate(schedule, 1.0, images_seen, 100) == pytest.approx(expected)


@pytest.mark.parametrize("images_seen", [10, 20, 60, 100, 140])
def test_with_a_horizon_the_course_does_not_depend_on_the_runs_length(images_seen: int) -> None:
    schedule = Cosine(warmup_images=20, horizon_images=100)
    rates = {learning_rate(schedule, 1.0, images_seen, total) for total in (40, 100, 200)}
    assert rates == {learning_rate(Cosine(warmup_images=20), 1.0, images_seen, 100)}


def test_a_warm_up_as_long_as_the_run() -> None:
    assert learning_rate(Cosine(warmup_images=100), 2.0, 100, 100) == 2.0


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(Constant(), 3.0, 0, 10) == 3.0


@pytest.mark.parametrize(
    ("warmup", "updates", "expected"),
    [(True, 0, 0.1), (True, 8, 0.5), (True, 10**6, 0.99), (False, 0, 0.99)],
)
def test_early_weights_fade(warmup: bool, updates: int, expected: float) -> None:
    settings = Engine(averaging_decay=0.99, averaging_warmup=warmup)
    assert averaging_decays(settings, updates) == [expected]


@pytest.mark.parametrize(
    ("before", "after", "due"),
    [(0, 9, False), (0, 10, True), (9, 11, True), (10, 19, False), (5, 35, True), (10, 10, False)],
)
def test_due_once_a_multiple_is_reached(before: int, after: int, due: bool) -> None:
    assert is_due(10, before, after) is due
