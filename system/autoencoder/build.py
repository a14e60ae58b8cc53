"""The autoencoder that a recipe asks for: convolutional, or none where the flow models pixels."""

from system.autoencoder.autoencoder import Autoencoder
from system.autoencoder.pixels import PixelSpace
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import Pixels


def build_autoencoder(
    settings: Convolutional | Pixels, image_channels: int
) -> Autoencoder | PixelSpace:
    """What encodes images to posteriors and decodes latents; its parts are `encoder`, `decoder`."""
    match settings:
        case Convolutional():
            return Autoencoder(settings, image_channels)
        case Pixels():
            return PixelSpace(settings)
