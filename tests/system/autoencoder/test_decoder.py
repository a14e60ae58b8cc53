import torch

from system.autoencoder.decoder import Decoder
from system.foundation.settings.autoencoder import Convolutional


def test_the_decoder_undoes_every_halving() -> None:
    shape = Convolutional(width=8, multipliers=(1, 2, 2), blocks_per_level=1, latent_channels=3)
    assert Decoder(shape, 3)(torch.randn(2, 3, 4, 2)).shape == (2, 3, 16, 8)
