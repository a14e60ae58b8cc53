import pytest
import torch

from system.autoencoder.autoencoder import Autoencoder
from system.autoencoder.autoencoder import widen
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior


def autoencoder(posterior: object, **keys: object) -> Autoencoder:
    torch.manual_seed(0)
    given = {"width": 8, "multipliers": (1, 2), "blocks_per_level": 1, "latent_channels": 3}
    return Autoencoder(Convolutional(**(given | keys), posterior=posterior), 1)


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


@pytest.mark.parametrize("posterior", [FixedPosterior(std=0.3), LearnedPosterior()])
def test_shift_and_scale_move_the_latent_and_decoding_undoes_them(posterior: object) -> None:
    image = torch.randn(2, 1, 8, 8)
    plain = autoencoder(posterior)
    moved = autoencoder(posterior, latent_shift=0.1, latent_scale=0.25)
    expected, found = plain.encode(image), moved.encode(image)
    torch.testing.assert_close(found.mean, (expected.mean - 0.1) * 0.25)
    torch.testing.assert_close(found.std, expected.std * 0.25)
    torch.testing.assert_close(
        moved.decode(found.mean), plain.decode(expected.mean), atol=1e-5, rtol=0
    )


def test_added_noise_joins_the_spread_after_scaling() -> None:
    image = torch.randn(2, 1, 8, 8)
    plain = autoencoder(LearnedPosterior(), latent_scale=0.25).encode(image)
    noisy = autoencoder(LearnedPosterior(added_noise=0.3), latent_scale=0.25).encode(image)
    assert torch.equal(noisy.mean, plain.mean)
    torch.testing.assert_close(noisy.std, torch.hypot(plain.std, torch.tensor(0.3)))


def test_layer_normalisation_is_of_the_mean_of_each_cell() -> None:
    image = torch.randn(2, 1, 8, 8)
    plain = autoencoder(LearnedPosterior()).encode(image)
    found = autoencoder(LearnedPosterior(), normalise="layer").encode(image)
    assert torch.equal(found.std, plain.std)
    torch.testing.assert_close(found.mean.mean(dim=1), torch.zeros(2, 4, 4), atol=1e-6, rtol=0)


def test_batch_normalisation_gives_draws_of_unit_spread() -> None:
    image = torch.randn(16, 1, 8, 8)
    posterior = autoencoder(LearnedPosterior(), normalise="batch").encode(image)
    second_moment = (posterior.mean.square() + posterior.std.square()).mean(dim=(0, 2, 3))
    torch.testing.assert_close(second_moment, torch.ones(3), atol=1e-3, rtol=0)


def test_a_fixed_spread_is_that_of_the_normalised_latent() -> None:
    for normalise in ("layer", "batch"):
        model = autoencoder(FixedPosterior(std=0.3), normalise=normalise)
        assert model.encode(torch.randn(2, 1, 8, 8)).std.item() == pytest.approx(0.3)


def test_statistics_move_in_training_only_and_not_under_a_frozen_encoder() -> None:
    model = autoencoder(FixedPosterior(), normalise="batch")
    image = torch.randn(4, 1, 8, 8)
    names = ["batch_statistics.running_mean", "batch_statistics.running_var"]
    assert [name for name in model.state_dict() if "statistics" in name] == names
    before = [model.state_dict()[name].clone() for name in names]

    def moved() -> list[bool]:
        model.encode(image)
        now = [model.state_dict()[name] for name in names]
        return [not torch.equal(*pair) for pair in zip(before, now, strict=True)]

    model.eval()
    assert moved() == [False, False]
    model.train()
    model.encoder.requires_grad_(False)
    assert moved() == [False, False]
    model.encoder.requires_grad_(True)
    assert moved() == [True, True]
