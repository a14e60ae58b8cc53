import math

import pytest
import torch

from system.autoencoder.pixels import PixelSpace
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior

LEVELS = torch.arange(256, dtype=torch.float64).reshape(1, 1, 16, 16)


def test_gaussian_noise_is_added_to_the_image() -> None:
    space = PixelSpace(Pixels(posterior=FixedPosterior(std=0.05)))
    image, noise = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    posterior = space.encode(image)
    assert torch.equal(posterior.sample(noise), image + posterior.std * noise)
    assert posterior.std.item() == pytest.approx(0.05)
    assert torch.equal(space.decode(posterior.mean), image)


def test_uniform_noise_is_that_of_tarflows_code() -> None:
    """Level k becomes ((k + u) / 256) * 2 - 1, with u between 0 and 1."""
    posterior = PixelSpace(Pixels(posterior=UniformPosterior())).encode(LEVELS / 127.5 - 1)
    noise = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    u = 0.5 * (1 + torch.erf(noise / math.sqrt(2)))
    # The spread is stored in the image's precision, so the last bits may differ.
    torch.testing.assert_close(
        posterior.sample(noise), (LEVELS + u) / 256 * 2 - 1, atol=1e-12, rtol=0
    )
    torch.testing.assert_close(posterior.std.item(), 1 / 128 / math.sqrt(12))


def test_fewer_levels_than_a_byte_has_are_still_levels() -> None:
    """Digits have 17, packed as the nearest of 256 greys: no bin may reach into the next."""
    level = torch.arange(17.0).reshape(1, 1, 1, 17)
    image = torch.round(level * (255 / 16)) / 127.5 - 1
    posterior = PixelSpace(Pixels(posterior=UniformPosterior(bins=17))).encode(image)
    torch.testing.assert_close(posterior.mean, (level + 0.5) * (2 / 17) - 1, atol=1e-6, rtol=0)


@pytest.mark.parametrize("extreme", [-40.0, 40.0])
def test_a_draw_stays_in_its_own_bin(extreme: float) -> None:
    image = (LEVELS / 127.5 - 1).float()
    posterior = PixelSpace(Pixels(posterior=UniformPosterior())).encode(image)
    drawn = posterior.sample(torch.full((1, 1, 16, 16), extreme)).double()
    # Float32 has its 24 bits; a bin is 2^-7 wide.
    offset = (drawn + 1) * 128 - LEVELS
    assert offset.min() >= -1e-4
    assert offset.max() <= 1 + 1e-4


def test_there_is_nothing_to_save_and_nothing_to_train() -> None:
    space = PixelSpace(Pixels())
    assert space.state_dict() == {}
    assert list(space.parameters()) == []
    space.load_state_dict({})
