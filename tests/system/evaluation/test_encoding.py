import torch

from system.evaluation.encoding import encode
from system.evaluation.encoding import latent_noise


def test_the_encoder_is_shown_pixels_between_minus_one_and_one(subject):
    image = torch.arange(2 * 64).to(torch.uint8).reshape(2, 1, 8, 8)
    expected = subject.model.autoencoder.encode(image.float() / 127.5 - 1)
    assert torch.equal(encode(subject, image).mean, expected.mean)


def test_noise_is_a_function_of_seed_draw_and_image(subject):
    noise = latent_noise(subject, 1, range(4), 0)
    shape = (subject.recipe.latent_channels, *2 * [subject.recipe.latent_size])
    assert noise.shape == (4, *shape)
    assert torch.equal(latent_noise(subject, 1, range(2, 4), 0), noise[2:])
    assert not torch.equal(latent_noise(subject, 2, range(4), 0), noise)
    assert not torch.equal(latent_noise(subject, 1, range(4), 1), noise)
