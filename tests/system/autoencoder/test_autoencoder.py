import pytest
import torch

from system.autoencoder.autoencoder import Autoencoder
from system.autoencoder.autoencoder import widen
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior


def autoencoder(posterior: object) -> Autoencoder:
    torch.manual_seed(0)
    shape = Convolutional(
        width=8, multipliers=(1, 2), blocks_per_level=1, latent_channels=3, posterior=posterior
    )
    return Autoencoder(shape, 1)


def test_a_fixed_posterior_has_the_recipes_spread_everywhere() -> None:
    posterior = autoencoder(FixedPosterior(std=0.3)).encode(torch.randn(2, 1, 8, 8))
    assert posterior.mean.shape == (2, 3, 4, 4)
    assert posterior.std.item() == pytest.approx(0.3)


def test_a_draw_has_the_posteriors_mean_and_spread() -> None:
    posterior = autoencoder(FixedPosterior(std=0.3)).encode(torch.randn(1, 1, 8, 8))
    noise = torch.randn(20_000, 3, 4, 4)
    drawn = posterior.mean + posterior.std * noise
    assert torch.equal(posterior.sample(noise), drawn)
    # Standard error of a standard deviation from 20,000 draws is 0.5 %; 5 of them.
    torch.testing.assert_close(drawn.std(dim=0), torch.full((3, 4, 4), 0.3), rtol=0.025, atol=0)


def test_a_learned_posterior_has_a_spread_of_its_own_inside_the_clamp() -> None:
    model = autoencoder(LearnedPosterior(min_log_std=-0.1, max_log_std=0.1))
    posterior = model.encode(10 * torch.randn(2, 1, 8, 8))
    assert posterior.std.shape == posterior.mean.shape
    assert posterior.std.log().abs().max() <= 0.1 + 1e-6
    assert posterior.std.std() > 0


def test_weights_in_bf16_still_give_float32_numbers() -> None:
    model = autoencoder(FixedPosterior()).bfloat16()
    posterior = model.encode(torch.randn(2, 1, 8, 8))
    assert posterior.mean.dtype == torch.float32
    assert model.decode(posterior.mean).dtype == torch.float32
    assert widen(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
