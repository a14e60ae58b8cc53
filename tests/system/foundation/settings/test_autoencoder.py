import pytest
from pydantic import ValidationError

from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior


def test_each_resolution_but_the_first_halves_the_grid() -> None:
    for multipliers, factor in (((1,), 1), ((1, 2), 2), ((1, 1, 2, 2, 4), 16)):
        assert Convolutional(multipliers=multipliers, latent_channels=4).downsampling == factor
    assert Pixels().downsampling == 1


def test_an_autoencoder_without_resolutions_is_refused() -> None:
    with pytest.raises(ValidationError, match="multipliers"):
        Convolutional(multipliers=(), latent_channels=4)


def test_clamps_must_leave_room() -> None:
    with pytest.raises(ValidationError, match="min_log_std 2 must be below max_log_std 2"):
        LearnedPosterior(min_log_std=2.0)


def test_pixels_take_noise_of_either_kind_but_learn_none() -> None:
    assert Pixels(posterior=UniformPosterior()).posterior.bins == 256
    with pytest.raises(ValidationError, match="posterior"):
        Pixels.model_validate({"posterior": {"kind": "learned"}})


def test_the_spread_of_the_noise_is_that_of_the_flows_own_latent() -> None:
    shape = {"multipliers": (1,), "latent_channels": 4, "latent_scale": 0.5}
    assert Convolutional(**shape, posterior=FixedPosterior(std=0.4)).noise_spread == 0.2
    learned = LearnedPosterior(added_noise=0.3)  # added after scaling
    assert Convolutional(**shape, posterior=learned).noise_spread == 0.3
    assert Convolutional(**shape, posterior=LearnedPosterior()).noise_spread is None
    assert Pixels(posterior=FixedPosterior(std=0.05)).noise_spread == 0.05
    assert Pixels(posterior=UniformPosterior()).noise_spread is None
