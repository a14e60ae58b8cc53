import torch

from system.autoencoder.encoder import Encoder
from system.autoencoder.encoder import middle
from system.foundation.settings.autoencoder import Convolutional

SHAPE = Convolutional(
    width=8, multipliers=(1, 2, 2), blocks_per_level=1, latent_channels=3, attention=False
)


def test_every_multiplier_but_the_first_halves_the_grid() -> None:
    assert Encoder(SHAPE, 3, 5)(torch.randn(2, 3, 16, 8)).shape == (2, 5, 4, 2)


def test_the_middle_has_attention_only_when_asked() -> None:
    assert len(middle(8, attention=True)) == 3
    assert len(middle(8, attention=False)) == 2
