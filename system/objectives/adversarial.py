"""A patch discriminator with the hinge loss.

Source: Isola et al. 2017, arXiv 1611.07004, as used by VQGAN, arXiv 2012.09841.
"""

from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.autoencoder.autoencoder import widen
from system.foundation.settings.objective import PatchGan
from system.layers.convolution import group_norm

SLOPE = 0.2
MAX_MULTIPLIER = 8


class PatchDiscriminator(nn.Module):
    """One logit per overlapping patch of the image.

    Group norm stands where the source has batch norm: its result does not depend on how the batch
    is cut over workers.
    """

    def __init__(self, shape: PatchGan, image_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(image_channels, shape.width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
        ]
        channels = shape.width
        for layer in range(1, shape.layers + 1):
            wider = shape.width * min(2**layer, MAX_MULTIPLIER)
            stride = 2 if layer < shape.layers else 1
            layers += [
                nn.Conv2d(channels, wider, 4, stride=stride, padding=1, bias=False),
                group_norm(wider),
                nn.LeakyReLU(SLOPE),
            ]
            channels = wider
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, padding=1))

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 h w"]:
        """Logits, float32: positive for real."""
        return widen(self.layers(image.to(next(self.parameters()).dtype)))


def discriminator_loss(
    real: Float[Tensor, "B 1 h w"], fake: Float[Tensor, "B 1 h w"]
) -> Float[Tensor, ""]:
    """Hinge loss of the discriminator."""
    return 0.5 * (functional.relu(1 - real).mean() + functional.relu(1 + fake).mean())


def generator_loss(fake: Float[Tensor, "B 1 h w"]) -> Float[Tensor, ""]:
    """Hinge loss of the decoder: it wants its images called real."""
    return -fake.mean()
