import pytest
import torch

from system.evaluation.drawing import to_uint8
from system.evaluation.measures import standard_statistics
from system.evaluation.measures.latent_statistics import spectral_entropy
from system.evaluation.measures.latent_statistics import total_variation
from system.evaluation.measures.smoothness import NOISE_LEVELS
from system.evaluation.measures.smoothness import decoded_under_noise
from system.evaluation.measures.smoothness import held_out_draws
from system.evaluation.measures.smoothness import interpolation
from system.evaluation.measures.smoothness import noise_names
from system.evaluation.measures.smoothness import reconstruction_under_noise
from system.evaluation.measures.smoothness import smoothness
from system.telemetry.metrics import unregistered


def test_statistics_are_of_the_means_and_carry_their_errors(bench):
    measured = {one.name.removeprefix("evaluation/"): one for one in smoothness(bench)}
    image = bench.held_out.image.float() / 127.5 - 1
    mean = bench.subject.model.autoencoder.encode(image).mean
    entropy = spectral_entropy(mean)
    assert measured["spectral_entropy"].value == pytest.approx(entropy.mean().item(), rel=1e-6)
    assert measured["spectral_entropy"].standard_error == pytest.approx(
        entropy.std().item() / len(image) ** 0.5, rel=1e-4
    )
    variation = total_variation(mean).mean().item()
    assert measured["total_variation"].value == pytest.approx(variation, rel=1e-6)
    assert measured["latent_std"].value == pytest.approx(mean.std().item(), rel=1e-5)
    assert {
        name.endswith("_sampled"): one.protocol.latents.draws for name, one in measured.items()
    } == {False: 0, True: 1}
    assert unregistered(one.name for one in measured.values()) == []


def test_both_definitions_are_named_in_the_protocol_and_the_standard_ones_see_a_draw_too(bench):
    measured = {one.name.removeprefix("evaluation/"): one for one in smoothness(bench)}
    for name in ("spectral_entropy", "total_variation", "autocorrelation"):
        assert measured[name].protocol.definition == "simflow/1"
        assert measured[f"standard_{name}"].protocol.definition == "standard/1"
        of_draw = measured[f"standard_{name}_sampled"]
        assert of_draw.protocol.definition == "standard/1"
        assert of_draw.value != measured[f"standard_{name}"].value
    draws = held_out_draws(bench)
    expected = standard_statistics.total_variation(draws).mean().item()
    assert measured["standard_total_variation_sampled"].value == pytest.approx(expected, rel=1e-6)
    assert len({one.protocol.digest for one in measured.values()}) == len(measured)


def test_noise_is_added_to_the_mean_before_decoding(bench):
    image = bench.held_out.image.float() / 127.5 - 1
    autoencoder = bench.subject.model.autoencoder
    plain = to_uint8(autoencoder.decode(autoencoder.encode(image).mean))
    assert torch.equal(decoded_under_noise(bench, 0.0), plain)
    assert torch.equal(decoded_under_noise(bench, 0.5), decoded_under_noise(bench, 0.5))
    assert not torch.equal(decoded_under_noise(bench, 0.5), plain)


def test_every_level_has_its_two_numbers(bench):
    measured = {one.name: one for one in reconstruction_under_noise(bench)}
    names = [name for level in NOISE_LEVELS for name in noise_names(level)]
    assert list(measured) == names
    assert unregistered(names) == []
    assert noise_names(0.25) == ("evaluation/rfid_noise_025", "evaluation/psnr_noise_025_db")
    assert len({one.protocol.digest for one in measured.values()}) == len(names)


def test_an_interpolation_begins_and_ends_with_the_images_themselves(bench):
    picture = interpolation(bench)
    plain = decoded_under_noise(bench, 0.0)
    times, side = 6, bench.held_out.image.shape[-1]
    cell = times * side
    first = picture[:, :cell:times, :cell:times]
    last = picture[:, :cell:times, 8 * (cell + 2) : 8 * (cell + 2) + cell : times]
    # One batch of nine decodes by other rounding than one of sixty.
    assert (first.int() - plain[0].int()).abs().max() <= 1
    assert (last.int() - plain[1].int()).abs().max() <= 1
