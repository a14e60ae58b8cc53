import math

import pytest

from system.foundation.errors import NumericsError
from system.foundation.settings.autoencoder import LearnedPosterior
from system.train.guards import check_likelihood
from system.train.guards import check_skips
from system.train.guards import likelihood_floor
from system.train.state import Progress


@pytest.mark.parametrize(("in_a_row", "stops"), [(0, False), (3, False), (4, True)])
def test_more_skips_in_a_row_than_allowed_stop(in_a_row: int, stops: bool) -> None:
    progress = Progress(images_seen=800, skipped_updates=9, skipped_in_a_row=in_a_row)
    if not stops:
        check_skips(progress, 3)
        return
    with pytest.raises(NumericsError, match=r"4 updates in a row, up to 800 images") as error:
        check_skips(progress, 3)
    assert "engine.optimiser.learning_rate" in str(error.value)


def test_the_floor_is_the_entropy_of_the_noise() -> None:
    assert likelihood_floor(1.0) == pytest.approx(0.5 * math.log(2 * math.pi * math.e))
    assert likelihood_floor(0.5) == pytest.approx(likelihood_floor(1.0) + math.log(0.5))


FLOOR = likelihood_floor(0.5)


@pytest.mark.parametrize(
    ("nll", "images", "stops"),
    [
        (FLOOR + 1, 10**5, False),
        (FLOOR, 10**5, False),
        (FLOOR - 0.04, 10**5, False),
        (FLOOR - 0.06, 10**5, True),
        (FLOOR - 0.06, 8, False),  # few numbers may fall below by chance
        (FLOOR - 0.5, 8, True),
    ],
)
def test_a_likelihood_better_than_can_be_stops(recipe, nll, images, stops) -> None:
    values = {"loss/nll_nats": nll}
    if not stops:
        check_likelihood(recipe(), values, images)
        return
    with pytest.raises(NumericsError, match="log-determinant is counted wrongly"):
        check_likelihood(recipe(), values, images)


def test_a_learned_spread_has_no_known_floor(recipe) -> None:
    made = recipe()
    learned = made.autoencoder.model_copy(update={"posterior": LearnedPosterior()})
    check_likelihood(
        made.model_copy(update={"autoencoder": learned}), {"loss/nll_nats": -9.0}, 10**5
    )


def test_a_report_without_the_term_passes(recipe) -> None:
    check_likelihood(recipe(), {}, 0)
