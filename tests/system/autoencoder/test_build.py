import torch

from system.autoencoder.autoencoder import Autoencoder
from system.autoencoder.build import build_autoencoder
from system.autoencoder.pixels import PixelSpace
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import Pixels


def test_a_recipes_kind_decides_what_is_built() -> None:
    shape = Convolutional(width=8, multipliers=(1,), blocks_per_level=1, latent_channels=2)
    assert isinstance(build_autoencoder(shape, 1), Autoencoder)
    pixels = build_autoencoder(Pixels(), 3)
    assert isinstance(pixels, PixelSpace)
    image = torch.rand(2, 3, 4, 4)
    assert torch.equal(pixels.decode(pixels.encode(image).mean), image)
