from dataclasses import replace

import pytest
import torch

from system.evaluation.measures.reconstruction import decoded
from system.evaluation.measures.reconstruction import reconstruction
from system.evaluation.scores.frechet import frechet_distance_of


def test_numbers_are_those_of_the_decoded_images(bench):
    measured = {one.name.removeprefix("evaluation/"): one for one in reconstruction(bench)}
    assert set(measured) == {
        *("rfid", "psnr_db", "ssim"),
        *("rfid_sampled", "psnr_sampled_db", "ssim_sampled"),
    }
    original = bench.held_out.image
    for draws, suffix in ((0, ""), (1, "_sampled")):
        image = decoded(bench, draws)
        error = (image.double() - original.double()).square().mean(dim=(1, 2, 3))
        psnr = (10 * torch.log10(255**2 / error)).mean().item()
        assert measured[f"psnr{suffix}_db"].value == pytest.approx(psnr, rel=1e-9)
        features = [bench.detector.look(each).features for each in (image, original)]
        # 60 images, 64 features: rank-deficient moments keep half of the digits.
        expected = frechet_distance_of(*features)
        assert measured[f"rfid{suffix}"].value == pytest.approx(expected, rel=1e-5)
        assert measured[f"rfid{suffix}"].protocol.latents.draws == draws
        assert measured[f"psnr{suffix}_db"].protocol.detector is None
        assert all(measured[f"{name}{suffix}"].standard_error > 0 for name in ("rfid", "ssim"))


def test_the_mean_is_plain_encoding_and_the_draw_adds_the_posteriors_noise(bench):
    autoencoder = bench.subject.model.autoencoder
    image = bench.held_out.image.float() / 127.5 - 1
    plain = ((autoencoder.decode(autoencoder.encode(image).mean) + 1) * 127.5).round().clamp(0, 255)
    assert (decoded(bench, 0).int() - plain.int()).abs().max() <= 1
    assert not torch.equal(decoded(bench, 1), decoded(bench, 0))


def test_noise_belongs_to_the_image_and_not_to_the_batch(bench):
    other = replace(bench, settings=bench.settings.model_copy(update={"batch": 7}))
    assert torch.equal(decoded(bench, 1), decoded(other, 1))
