import math

import pytest

from system.foundation.errors import NumericsError
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior
from system.train.guards.limits import check_likelihood
from system.train.guards.limits import check_skips
from system.train.guards.limits import likelihood_floor
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


NORMAL = 0.5 * math.log(2 * math.pi * math.e)


def convolutional(posterior, **keys) -> Convolutional:
    return Convolutional(multipliers=(1,), latent_channels=1, posterior=posterior, **keys)


@pytest.mark.parametrize(
    ("autoencoder", "floor"),
    [
        (convolutional(FixedPosterior(std=1.0)), NORMAL),
        (convolutional(FixedPosterior(std=0.5)), NORMAL + math.log(0.5)),
        (convolutional(FixedPosterior(std=0.5), latent_scale=0.2), NORMAL + math.log(0.1)),
        (convolutional(LearnedPosterior(min_log_std=-5.0)), NORMAL - 5),
        (
            convolutional(LearnedPosterior(min_log_std=math.log(0.4), added_noise=0.3)),
            NORMAL + math.log(0.5),
        ),
        (convolutional(LearnedPosterior(), normalise="batch"), -math.inf),
        (
            convolutional(LearnedPosterior(added_noise=0.3), normalise="batch"),
            NORMAL + math.log(0.3),
        ),
        (Pixels(posterior=FixedPosterior(std=0.05)), NORMAL + math.log(0.05)),
        (Pixels(posterior=UniformPosterior()), -math.log(128)),
    ],
)
def test_the_floor_is_the_least_entropy_of_the_noise(autoencoder, floor) -> None:
    assert likelihood_floor(autoencoder) == pytest.approx(floor)


FLOOR = NORMAL + math.log(0.5)


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


def test_the_floor_of_a_learned_spread_is_the_entropy_that_was_measured(recipe) -> None:
    made = recipe()
    learned = made.autoencoder.model_copy(update={"posterior": LearnedPosterior()})
    made = made.model_copy(update={"autoencoder": learned})
    check_likelihood(made, {"loss/nll_nats": 0.3, "loss/entropy_nats": 0.2}, 10**5)
    with pytest.raises(NumericsError, match=r"below the 0\.2000 .*\(learned\)"):
        check_likelihood(made, {"loss/nll_nats": 0.1, "loss/entropy_nats": 0.2}, 10**5)


def test_a_report_without_the_term_passes(recipe) -> None:
    check_likelihood(recipe(), {}, 0)
