import pytest
import torch

from system.foundation.settings.objective import PatchGan
from system.objectives.adversarial import PatchDiscriminator
from system.objectives.adversarial import discriminator_loss
from system.objectives.adversarial import generator_loss


def test_logits_are_per_patch_and_float32() -> None:
    critic = PatchDiscriminator(PatchGan(width=8, layers=3), 3)
    assert critic(torch.randn(2, 3, 64, 64)).shape == (2, 1, 6, 6)
    assert critic.bfloat16()(torch.randn(2, 3, 64, 64)).dtype == torch.float32


def test_the_published_shape_has_the_published_number_of_parameters() -> None:
    """2.76 million for 64 channels and 3 layers (the usual patch discriminator on 70 pixels)."""
    critic = PatchDiscriminator(PatchGan(), 3)
    assert sum(p.numel() for p in critic.parameters()) == 2_765_633


def test_an_image_is_judged_by_itself() -> None:
    torch.manual_seed(0)
    critic = PatchDiscriminator(PatchGan(width=8, layers=2), 1)
    images = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(critic(images)[1:2], critic(images[1:2]))


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_smallest_image_is_the_smallest_that_can_be_judged(layers: int) -> None:
    shape = PatchGan(width=8, layers=layers)
    critic, side = PatchDiscriminator(shape, 1), shape.smallest_image
    assert critic(torch.randn(2, 1, side, side)).shape == (2, 1, 1, 1)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        critic(torch.randn(2, 1, side - 1, side - 1))


def test_hinge_losses() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    shape = (2, 1, 1, 1)
    loss = discriminator_loss(real.reshape(shape), fake.reshape(shape))
    assert loss.item() == 0.5 * (0.25 + 0.5)
    assert generator_loss(fake.reshape(shape)).item() == 1.5
